#include "demo/proof.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <memory>

namespace tpmspace::demo {
namespace {

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* object) const {
    release(object);
  }
};
template <typename T, auto release>
using Owned = std::unique_ptr<T, Release<release>>;
using PublicKey = Owned<EVP_PKEY, EVP_PKEY_free>;

void append(Bytes& point, const TPM2B_ECC_PARAMETER& coordinate) {
  point.insert(point.end(), 32U - std::min<std::size_t>(coordinate.size, 32), 0);
  point.insert(point.end(), coordinate.buffer, coordinate.buffer + std::min<std::size_t>(coordinate.size, 32));
}

PublicKey public_key(const TPMS_ECC_POINT& at) {
  Bytes point{0x04};  // uncompressed
  append(point, at.x);
  append(point, at.y);
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) == 1)
    EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get());
  return PublicKey(key);
}

// ECDSA's two numbers as OpenSSL wants them.
Bytes der(const TPMS_SIGNATURE_ECC& numbers) {
  const Owned<ECDSA_SIG, ECDSA_SIG_free> signature(ECDSA_SIG_new());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(numbers.signatureR.buffer, numbers.signatureR.size, nullptr),
                 BN_bin2bn(numbers.signatureS.buffer, numbers.signatureS.size, nullptr));
  const int size = i2d_ECDSA_SIG(signature.get(), nullptr);
  if (size <= 0) return {};
  Bytes out(static_cast<std::size_t>(size));
  unsigned char* end = out.data();
  i2d_ECDSA_SIG(signature.get(), &end);
  return out;
}

}  // namespace

TPM2B_DIGEST sha256(View data) {
  TPM2B_DIGEST out{};
  out.size = SHA256_DIGEST_LENGTH;
  SHA256(data.data(), data.size(), out.buffer);
  return out;
}

bool is_signed_by(const Key& key, const TPM2B_DIGEST& digest, const TPMT_SIGNATURE& signature) {
  const PublicKey signer = public_key(key.area.publicArea.unique.ecc);
  if (!signer || signature.sigAlg != TPM2_ALG_ECDSA) return false;
  const Bytes numbers = der(signature.signature.ecdsa);
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new(signer.get(), nullptr));
  return EVP_PKEY_verify_init(context.get()) == 1 &&
         EVP_PKEY_verify(context.get(), numbers.data(), numbers.size(), digest.buffer, digest.size) == 1;
}

bool is_quote_of(const Key& key, View nonce, const Quote& quote) {
  TPMS_ATTEST content{};
  std::size_t at = 0;
  const View attested(quote.attested.attestationData, quote.attested.size);
  if (Tss2_MU_TPMS_ATTEST_Unmarshal(attested.data(), attested.size(), &at, &content) != TSS2_RC_SUCCESS) return false;
  const View echoed(content.extraData.buffer, content.extraData.size);
  return content.magic == TPM2_GENERATED_VALUE && content.type == TPM2_ST_ATTEST_QUOTE &&
         std::equal(echoed.begin(), echoed.end(), nonce.begin(), nonce.end()) &&
         is_signed_by(key, sha256(attested), quote.signature);
}

}  // namespace tpmspace::demo
