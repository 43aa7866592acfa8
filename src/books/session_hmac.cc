#include "books/session_hmac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace tpmspace::space {

using wire::Bytes;
using wire::ByteView;
using wire::Writer;

namespace {

// TPM_ALG_ID (Part 2, 6.3). Null: an unknown algorithm.
const EVP_MD* hash_of(std::uint16_t hash) {
  switch (hash) {
    case 0x0004:
      return EVP_sha1();
    case 0x000B:
      return EVP_sha256();
    case 0x000C:
      return EVP_sha384();
    case 0x000D:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

Bytes digest(const EVP_MD* hash, ByteView data) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  if (EVP_Digest(data.data(), data.size(), out.data(), &size, hash, nullptr) != 1) size = 0;
  out.resize(size);
  return out;
}

Bytes hmac_with_empty_key(const EVP_MD* hash, ByteView data) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  if (HMAC(hash, "", 0, data.data(), data.size(), out.data(), &size) == nullptr) size = 0;
  out.resize(size);
  return out;
}

}  // namespace

bool knows_hash(std::uint16_t hash) {
  return hash_of(hash) != nullptr;
}

std::size_t digest_size(std::uint16_t hash) {
  const EVP_MD* known = hash_of(hash);
  return known == nullptr ? 0 : static_cast<std::size_t>(EVP_MD_get_size(known));
}

Bytes hmac_of_command(std::uint16_t hash, const wire::Command& command, const std::vector<Bytes>& names,
                      std::size_t index, const std::vector<ByteView>& nonces) {
  const EVP_MD* known = hash_of(hash);
  if (known == nullptr) return {};
  Writer covered;
  covered.u32(command.code());
  for (const Bytes& name : names) covered.raw(name);
  covered.raw(command.parameters());
  const wire::Authorization& authorization = command.authorizations()[index];
  Writer message;
  message.raw(digest(known, covered.bytes()));
  message.raw(command.bytes().subspan(authorization.nonce_at, authorization.nonce_size));
  for (const ByteView nonce : nonces) message.raw(nonce);
  message.u8(authorization.attributes);
  return hmac_with_empty_key(known, message.bytes());
}

Bytes hmac_of_response(std::uint16_t hash, const wire::Command& command, const wire::Response& response,
                       std::size_t index) {
  const EVP_MD* known = hash_of(hash);
  if (known == nullptr) return {};
  Writer covered;
  covered.u32(response.code()).u32(command.code()).raw(response.parameters());
  const wire::ResponseAuthorization& of_tpm = response.authorizations()[index];
  const wire::Authorization& of_client = command.authorizations()[index];
  Writer message;
  message.raw(digest(known, covered.bytes()));
  message.raw(response.bytes().subspan(of_tpm.nonce_at, of_tpm.nonce_size));
  message.raw(command.bytes().subspan(of_client.nonce_at, of_client.nonce_size));
  message.u8(of_tpm.attributes);
  return hmac_with_empty_key(known, message.bytes());
}

}  // namespace tpmspace::space
