#include "demo/kit/esys.h"

#include <fmt/format.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace tpmspace::demo {
namespace {

constexpr ESYS_TR kNone = ESYS_TR_NONE;
constexpr TPMA_SESSION kContinue = 0x01, kDecrypt = 0x20, kEncrypt = 0x40, kAllAttributes = 0xFF;
constexpr TPMI_ALG_HASH kSha256 = TPM2_ALG_SHA256;

// ESYS's results are malloc'ed.
struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

void check(const char* command, TSS2_RC code) {
  if (code != TSS2_RC_SUCCESS) throw Failure{command, code};
}

template <typename Tpm2b>
void fill(Tpm2b& target, View bytes) {
  target.size = static_cast<UINT16>(std::min(bytes.size(), sizeof target.buffer));
  std::copy_n(bytes.begin(), target.size, std::begin(target.buffer));
}

constexpr TPMA_OBJECT kOwnObject = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                                   TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA;

TPM2B_PUBLIC key_template(KeyUse use, View unique) {
  TPM2B_PUBLIC out{};
  auto& area = out.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = kSha256;
  auto& detail = area.parameters.eccDetail;
  detail.curveID = TPM2_ECC_NIST_P256;
  detail.kdf.scheme = TPM2_ALG_NULL;
  if (use == KeyUse::kStorage) {
    area.objectAttributes = kOwnObject | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    detail.symmetric.algorithm = TPM2_ALG_AES;
    detail.symmetric.keyBits.aes = 128;
    detail.symmetric.mode.aes = TPM2_ALG_CFB;
    detail.scheme.scheme = TPM2_ALG_NULL;
  } else {
    area.objectAttributes = kOwnObject | TPMA_OBJECT_SIGN_ENCRYPT;
    if (use == KeyUse::kQuoting) area.objectAttributes |= TPMA_OBJECT_RESTRICTED;
    detail.symmetric.algorithm = TPM2_ALG_NULL;
    detail.scheme.scheme = TPM2_ALG_ECDSA;
    detail.scheme.details.ecdsa.hashAlg = kSha256;
  }
  fill(area.unique.ecc.x, unique);
  return out;
}

TPML_PCR_SELECTION select_pcr(unsigned pcr) {
  TPML_PCR_SELECTION out{};
  out.count = 1;
  out.pcrSelections[0].hash = kSha256;
  out.pcrSelections[0].sizeofSelect = 3;
  out.pcrSelections[0].pcrSelect[pcr / 8] = static_cast<BYTE>(1U << (pcr % 8));
  return out;
}

}  // namespace

std::string in_words(TSS2_RC code) {
  // "tpm:warn(2.0): what it means": the part before the meaning repeats the number.
  const std::string_view text = Tss2_RC_Decode(code);
  const auto colon = text.rfind(": ");
  return fmt::format("{} (0x{:08x})", colon == std::string_view::npos ? text : text.substr(colon + 2), code);
}

Tpm::Tpm(const std::string& tcti) {
  check("connect", Tss2_TctiLdr_Initialize(tcti.c_str(), &tcti_));
  const TSS2_RC code = Esys_Initialize(&esys_, tcti_, nullptr);
  if (code != TSS2_RC_SUCCESS) Tss2_TctiLdr_Finalize(&tcti_);
  check("initialize", code);
}

Tpm::~Tpm() {
  Esys_Finalize(&esys_);
  Tss2_TctiLdr_Finalize(&tcti_);
}

void Tpm::set_attributes(ESYS_TR session, TPMA_SESSION attributes) {
  if (session != ESYS_TR_PASSWORD)
    check("session attributes", Esys_TRSess_SetAttributes(esys_, session, attributes, kAllAttributes));
}

Key Tpm::create_primary(KeyUse use, View unique, View password, ESYS_TR session) {
  TPM2B_SENSITIVE_CREATE sensitive{};
  fill(sensitive.sensitive.userAuth, password);
  const TPM2B_PUBLIC wanted = key_template(use, unique);
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  set_attributes(session, kContinue | kDecrypt);
  Key key;
  TPM2B_PUBLIC* area = nullptr;
  check("CreatePrimary", Esys_CreatePrimary(esys_, ESYS_TR_RH_OWNER, session, kNone, kNone, &sensitive, &wanted,
                                            &outside, &no_pcrs, &key.handle, &area, nullptr, nullptr, nullptr));
  key.area = *Owned<TPM2B_PUBLIC>(area);
  return key;
}

Blob Tpm::seal(const Key& parent, View secret, const TPM2B_DIGEST& policy, ESYS_TR session) {
  TPM2B_SENSITIVE_CREATE sensitive{};
  fill(sensitive.sensitive.data, secret);
  TPM2B_PUBLIC wanted{};
  wanted.publicArea.type = TPM2_ALG_KEYEDHASH;
  wanted.publicArea.nameAlg = kSha256;
  wanted.publicArea.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA;
  wanted.publicArea.authPolicy = policy;
  wanted.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  set_attributes(session, kContinue | kDecrypt);
  TPM2B_PRIVATE* private_part = nullptr;
  TPM2B_PUBLIC* public_part = nullptr;
  check("Create", Esys_Create(esys_, parent.handle, session, kNone, kNone, &sensitive, &wanted, &outside, &no_pcrs,
                              &private_part, &public_part, nullptr, nullptr, nullptr));
  return {*Owned<TPM2B_PRIVATE>(private_part), *Owned<TPM2B_PUBLIC>(public_part)};
}

ESYS_TR Tpm::load(const Key& parent, const Blob& blob, ESYS_TR session) {
  set_attributes(session, kContinue);
  ESYS_TR handle = kNone;
  check("Load", Esys_Load(esys_, parent.handle, session, kNone, kNone, &blob.secret, &blob.area, &handle));
  return handle;
}

void Tpm::flush(ESYS_TR handle) {
  check("FlushContext", Esys_FlushContext(esys_, handle));
}

ESYS_TR Tpm::start_hmac_session(const Key* salted_by) {
  TPMT_SYM_DEF cipher{};
  cipher.algorithm = TPM2_ALG_AES;
  cipher.keyBits.aes = 128;
  cipher.mode.aes = TPM2_ALG_CFB;
  ESYS_TR session = kNone;
  check("StartAuthSession", Esys_StartAuthSession(esys_, salted_by != nullptr ? salted_by->handle : kNone, kNone, kNone,
                                                  kNone, kNone, nullptr, TPM2_SE_HMAC, &cipher, kSha256, &session));
  return session;
}

ESYS_TR Tpm::start_policy_session(TPM2_SE type) {
  TPMT_SYM_DEF none{};
  none.algorithm = TPM2_ALG_NULL;
  ESYS_TR session = kNone;
  check("StartAuthSession",
        Esys_StartAuthSession(esys_, kNone, kNone, kNone, kNone, kNone, nullptr, type, &none, kSha256, &session));
  return session;
}

void Tpm::policy_pcr(ESYS_TR session, unsigned pcr) {
  const TPM2B_DIGEST as_they_are{};
  const TPML_PCR_SELECTION pcrs = select_pcr(pcr);
  check("PolicyPCR", Esys_PolicyPCR(esys_, session, kNone, kNone, kNone, &as_they_are, &pcrs));
}

void Tpm::policy_command_code(ESYS_TR session, TPM2_CC code) {
  check("PolicyCommandCode", Esys_PolicyCommandCode(esys_, session, kNone, kNone, kNone, code));
}

TPM2B_DIGEST Tpm::policy_digest(ESYS_TR session) {
  TPM2B_DIGEST* digest = nullptr;
  check("PolicyGetDigest", Esys_PolicyGetDigest(esys_, session, kNone, kNone, kNone, &digest));
  return *Owned<TPM2B_DIGEST>(digest);
}

TPMT_SIGNATURE Tpm::sign(const Key& key, const TPM2B_DIGEST& digest, ESYS_TR session) {
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_ECDSA;
  scheme.details.ecdsa.hashAlg = kSha256;
  TPMT_TK_HASHCHECK ticket{};
  ticket.tag = TPM2_ST_HASHCHECK;
  ticket.hierarchy = TPM2_RH_NULL;
  set_attributes(session, kContinue);
  TPMT_SIGNATURE* signature = nullptr;
  check("Sign", Esys_Sign(esys_, key.handle, session, kNone, kNone, &digest, &scheme, &ticket, &signature));
  return *Owned<TPMT_SIGNATURE>(signature);
}

Quote Tpm::quote(const Key& key, View nonce, unsigned pcr, ESYS_TR session) {
  TPM2B_DATA qualifying{};
  fill(qualifying, nonce);
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_NULL;  // the key's own
  const TPML_PCR_SELECTION pcrs = select_pcr(pcr);
  set_attributes(session, kContinue);
  TPM2B_ATTEST* attested = nullptr;
  TPMT_SIGNATURE* signature = nullptr;
  check("Quote",
        Esys_Quote(esys_, key.handle, session, kNone, kNone, &qualifying, &scheme, &pcrs, &attested, &signature));
  return {*Owned<TPM2B_ATTEST>(attested), *Owned<TPMT_SIGNATURE>(signature)};
}

Bytes Tpm::unseal(ESYS_TR sealed, ESYS_TR policy, ESYS_TR encrypting) {
  set_attributes(policy, 0);
  if (encrypting != kNone) set_attributes(encrypting, kContinue | kEncrypt);
  TPM2B_SENSITIVE_DATA* data = nullptr;
  check("Unseal", Esys_Unseal(esys_, sealed, policy, encrypting, kNone, &data));
  const Owned<TPM2B_SENSITIVE_DATA> owned(data);
  return {data->buffer, data->buffer + data->size};
}

Bytes Tpm::get_random(std::uint16_t bytes) {
  TPM2B_DIGEST* random = nullptr;
  check("GetRandom", Esys_GetRandom(esys_, kNone, kNone, kNone, bytes, &random));
  const Owned<TPM2B_DIGEST> owned(random);
  return {random->buffer, random->buffer + random->size};
}

}  // namespace tpmspace::demo
