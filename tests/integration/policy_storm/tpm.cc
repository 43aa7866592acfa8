#include "tpm.h"

#include <openssl/evp.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

namespace tpmspace::storm {
namespace {

constexpr ESYS_TR kNone = ESYS_TR_NONE;
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
Tpm2b filled(View bytes) {
  Tpm2b out{};
  out.size = static_cast<UINT16>(std::min(bytes.size(), sizeof out.buffer));
  std::copy_n(bytes.begin(), out.size, std::begin(out.buffer));
  return out;
}

template <typename Tpm2b>
Bytes taken(Tpm2b* tpm2b) {
  const Owned<Tpm2b> owned(tpm2b);
  const View bytes = view(*owned);
  return {bytes.begin(), bytes.end()};
}

TPMA_OBJECT attributes_of(const Terms& terms) {
  TPMA_OBJECT out = 0;
  if (!terms.may_leave) out |= TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT;
  if (!terms.counts) out |= TPMA_OBJECT_NODA;
  if (terms.policy.size == 0 || terms.password_too) out |= TPMA_OBJECT_USERWITHAUTH;
  return out;
}

TPM2B_PUBLIC key_template(KeyUse use, const Terms& terms, View unique) {
  TPM2B_PUBLIC out{};
  auto& area = out.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = kSha256;
  area.objectAttributes = attributes_of(terms) | TPMA_OBJECT_SENSITIVEDATAORIGIN;
  area.authPolicy = terms.policy;
  auto& detail = area.parameters.eccDetail;
  detail.curveID = TPM2_ECC_NIST_P256;
  detail.kdf.scheme = TPM2_ALG_NULL;
  if (use == KeyUse::kStorage) {
    area.objectAttributes |= TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    detail.symmetric.algorithm = TPM2_ALG_AES;
    detail.symmetric.keyBits.aes = 128;
    detail.symmetric.mode.aes = TPM2_ALG_CFB;
    detail.scheme.scheme = TPM2_ALG_NULL;
  } else {
    area.objectAttributes |= TPMA_OBJECT_SIGN_ENCRYPT;
    detail.symmetric.algorithm = TPM2_ALG_NULL;
    detail.scheme.scheme = TPM2_ALG_ECDSA;
    detail.scheme.details.ecdsa.hashAlg = kSha256;
  }
  area.unique.ecc.x = filled<TPM2B_ECC_PARAMETER>(unique);
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

TPM2B_DIGEST sha256(std::initializer_list<View> parts) {
  Bytes all;
  for (const View part : parts) all.insert(all.end(), part.begin(), part.end());
  TPM2B_DIGEST out{};
  unsigned size = 0;
  EVP_Digest(all.data(), all.size(), &out.buffer[0], &size, EVP_sha256(), nullptr);
  out.size = static_cast<UINT16>(size);
  return out;
}

Bytes bytes(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

TPM2B_PUBLIC sealed_template(const Terms& terms) {
  TPM2B_PUBLIC out{};
  out.publicArea.type = TPM2_ALG_KEYEDHASH;
  out.publicArea.nameAlg = kSha256;
  out.publicArea.objectAttributes = attributes_of(terms);
  out.publicArea.authPolicy = terms.policy;
  out.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  return out;
}

TPM2B_DIGEST template_hash(const TPM2B_PUBLIC& wanted) {
  std::array<std::uint8_t, sizeof(TPMT_PUBLIC)> buffer{};
  std::size_t size = 0;
  check("marshal", Tss2_MU_TPMT_PUBLIC_Marshal(&wanted.publicArea, buffer.data(), buffer.size(), &size));
  return sha256({View(buffer.data(), size)});
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

// --- objects

ESYS_TR Tpm::create_primary(KeyUse use, const Terms& terms, View unique) {
  TPM2B_SENSITIVE_CREATE sensitive{};
  sensitive.sensitive.userAuth = filled<TPM2B_AUTH>(terms.password);
  const TPM2B_PUBLIC wanted = key_template(use, terms, unique);
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  ESYS_TR key = kNone;
  check("CreatePrimary", Esys_CreatePrimary(esys_, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, kNone, kNone, &sensitive,
                                            &wanted, &outside, &no_pcrs, &key, nullptr, nullptr, nullptr, nullptr));
  check("SetAuth", Esys_TR_SetAuth(esys_, key, &sensitive.sensitive.userAuth));
  return key;
}

Blob Tpm::create(ESYS_TR parent, View secret, const Terms& terms, Sessions sessions) {
  TPM2B_SENSITIVE_CREATE sensitive{};
  sensitive.sensitive.data = filled<TPM2B_SENSITIVE_DATA>(secret);
  sensitive.sensitive.userAuth = filled<TPM2B_AUTH>(terms.password);
  const TPM2B_PUBLIC wanted = sealed_template(terms);
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  TPM2B_PRIVATE* private_part = nullptr;
  TPM2B_PUBLIC* public_part = nullptr;
  check("Create", Esys_Create(esys_, parent, sessions.first, sessions.second, kNone, &sensitive, &wanted, &outside,
                              &no_pcrs, &private_part, &public_part, nullptr, nullptr, nullptr));
  return {*Owned<TPM2B_PRIVATE>(private_part), *Owned<TPM2B_PUBLIC>(public_part)};
}

ESYS_TR Tpm::load(ESYS_TR parent, const Blob& blob, View password) {
  ESYS_TR object = kNone;
  check("Load", Esys_Load(esys_, parent, ESYS_TR_PASSWORD, kNone, kNone, &blob.secret, &blob.area, &object));
  const auto value = filled<TPM2B_AUTH>(password);
  check("SetAuth", Esys_TR_SetAuth(esys_, object, &value));
  return object;
}

ESYS_TR Tpm::seal(View secret, const Terms& terms) {
  const ESYS_TR parent = create_primary(KeyUse::kStorage);
  const ESYS_TR object = load(parent, create(parent, secret, terms), terms.password);
  flush(parent);
  return object;
}

Bytes Tpm::unseal(ESYS_TR object, Sessions sessions) {
  TPM2B_SENSITIVE_DATA* data = nullptr;
  check("Unseal", Esys_Unseal(esys_, object, sessions.first, sessions.second, kNone, &data));
  return taken(data);
}

Bytes Tpm::unseal_duplicate(ESYS_TR object, ESYS_TR new_parent, ESYS_TR session) {
  const TPM2B_DATA no_key{};
  TPMT_SYM_DEF_OBJECT no_cipher{};
  no_cipher.algorithm = TPM2_ALG_NULL;
  TPM2B_DATA* key = nullptr;
  TPM2B_PRIVATE* private_part = nullptr;
  TPM2B_ENCRYPTED_SECRET* seed = nullptr;
  check("Duplicate", Esys_Duplicate(esys_, object, new_parent, session, kNone, kNone, &no_key, &no_cipher, &key,
                                    &private_part, &seed));
  const Owned<TPM2B_DATA> owned_key(key);
  const Owned<TPM2B_PRIVATE> duplicate(private_part);
  const Owned<TPM2B_ENCRYPTED_SECRET> owned_seed(seed);
  TPM2B_PUBLIC* area = nullptr;
  check("ReadPublic", Esys_ReadPublic(esys_, object, kNone, kNone, kNone, &area, nullptr, nullptr));
  const Owned<TPM2B_PUBLIC> owned_area(area);
  TPM2B_PRIVATE* imported = nullptr;
  check("Import", Esys_Import(esys_, new_parent, ESYS_TR_PASSWORD, kNone, kNone, &no_key, area, duplicate.get(), seed,
                              &no_cipher, &imported));
  const ESYS_TR there = load(new_parent, {*Owned<TPM2B_PRIVATE>(imported), *area});
  Bytes secret = unseal(there);
  flush(there);
  return secret;
}

TPM2B_NAME Tpm::name_of(ESYS_TR object) {
  TPM2B_NAME* name = nullptr;
  check("GetName", Esys_TR_GetName(esys_, object, &name));
  return *Owned<TPM2B_NAME>(name);
}

void Tpm::flush(ESYS_TR handle) {
  check("FlushContext", Esys_FlushContext(esys_, handle));
}

TPMT_SIGNATURE Tpm::sign(ESYS_TR key, const TPM2B_DIGEST& digest) {
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_ECDSA;
  scheme.details.ecdsa.hashAlg = kSha256;
  TPMT_TK_HASHCHECK ticket{};
  ticket.tag = TPM2_ST_HASHCHECK;
  ticket.hierarchy = TPM2_RH_NULL;
  TPMT_SIGNATURE* signature = nullptr;
  check("Sign", Esys_Sign(esys_, key, ESYS_TR_PASSWORD, kNone, kNone, &digest, &scheme, &ticket, &signature));
  return *Owned<TPMT_SIGNATURE>(signature);
}

TPMT_TK_VERIFIED Tpm::verify(ESYS_TR key, const TPM2B_DIGEST& digest, const TPMT_SIGNATURE& signature) {
  TPMT_TK_VERIFIED* ticket = nullptr;
  check("VerifySignature", Esys_VerifySignature(esys_, key, kNone, kNone, kNone, &digest, &signature, &ticket));
  return *Owned<TPMT_TK_VERIFIED>(ticket);
}

ESYS_TR Tpm::define_index(TPM2_HANDLE index, View data, const TPM2B_DIGEST& policy) {
  const TPM2B_AUTH no_password{};
  TPM2B_NV_PUBLIC wanted{};
  wanted.nvPublic.nvIndex = index;
  wanted.nvPublic.nameAlg = kSha256;
  wanted.nvPublic.attributes = TPMA_NV_OWNERWRITE | TPMA_NV_POLICYREAD | TPMA_NV_NO_DA;
  wanted.nvPublic.authPolicy = policy;
  wanted.nvPublic.dataSize = static_cast<UINT16>(data.size());
  ESYS_TR out = kNone;
  check("NV_DefineSpace",
        Esys_NV_DefineSpace(esys_, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, kNone, kNone, &no_password, &wanted, &out));
  const auto content = filled<TPM2B_MAX_NV_BUFFER>(data);
  check("NV_Write", Esys_NV_Write(esys_, ESYS_TR_RH_OWNER, out, ESYS_TR_PASSWORD, kNone, kNone, &content, 0));
  return out;
}

Bytes Tpm::read_index(ESYS_TR index, std::uint16_t size, ESYS_TR session) {
  TPM2B_MAX_NV_BUFFER* data = nullptr;
  check("NV_Read", Esys_NV_Read(esys_, index, index, session, kNone, kNone, size, 0, &data));
  return taken(data);
}

void Tpm::undefine_index(ESYS_TR index) {
  check("NV_UndefineSpace", Esys_NV_UndefineSpace(esys_, ESYS_TR_RH_OWNER, index, ESYS_TR_PASSWORD, kNone, kNone));
}

// --- sessions

ESYS_TR Tpm::start(TPM2_SE type, Cipher cipher, ESYS_TR salted_by, ESYS_TR bound_to) {
  TPMT_SYM_DEF symmetric{};
  symmetric.algorithm = TPM2_ALG_NULL;
  if (cipher == Cipher::kAes) {
    symmetric.algorithm = TPM2_ALG_AES;
    symmetric.keyBits.aes = 128;
    symmetric.mode.aes = TPM2_ALG_CFB;
  }
  ESYS_TR session = kNone;
  check("StartAuthSession", Esys_StartAuthSession(esys_, salted_by, bound_to, kNone, kNone, kNone, nullptr, type,
                                                  &symmetric, kSha256, &session));
  return session;
}

void Tpm::set_attributes(ESYS_TR session, TPMA_SESSION attributes) {
  check("SetAttributes", Esys_TRSess_SetAttributes(esys_, session, attributes, 0xFF));
}

TPM2B_NONCE Tpm::nonce_of(ESYS_TR session) {
  TPM2B_NONCE* nonce = nullptr;
  check("GetNonceTPM", Esys_TRSess_GetNonceTPM(esys_, session, &nonce));
  return *Owned<TPM2B_NONCE>(nonce);
}

void Tpm::forget(ESYS_TR session) noexcept {
  if (Esys_FlushContext(esys_, session) != TSS2_RC_SUCCESS) Esys_TR_Close(esys_, &session);
}

// --- policies

TPM2B_DIGEST Tpm::digest_of(const Policy& policy) {
  const ESYS_TR trial = start(TPM2_SE_TRIAL, Cipher::kNone);
  policy(*this, trial);
  const TPM2B_DIGEST digest = policy_digest(trial);
  flush(trial);
  return digest;
}

TPM2B_DIGEST Tpm::policy_digest(ESYS_TR session) {
  TPM2B_DIGEST* digest = nullptr;
  check("PolicyGetDigest", Esys_PolicyGetDigest(esys_, session, kNone, kNone, kNone, &digest));
  return *Owned<TPM2B_DIGEST>(digest);
}

void Tpm::policy_restart(ESYS_TR session) {
  check("PolicyRestart", Esys_PolicyRestart(esys_, session, kNone, kNone, kNone));
}

void Tpm::policy_pcr(ESYS_TR session, unsigned pcr) {
  const TPM2B_DIGEST as_they_are{};
  const TPML_PCR_SELECTION pcrs = select_pcr(pcr);
  check("PolicyPCR", Esys_PolicyPCR(esys_, session, kNone, kNone, kNone, &as_they_are, &pcrs));
}

void Tpm::policy_command_code(ESYS_TR session, TPM2_CC code) {
  check("PolicyCommandCode", Esys_PolicyCommandCode(esys_, session, kNone, kNone, kNone, code));
}

void Tpm::policy_or(ESYS_TR session, const TPML_DIGEST& branches) {
  check("PolicyOR", Esys_PolicyOR(esys_, session, kNone, kNone, kNone, &branches));
}

void Tpm::policy_locality(ESYS_TR session, TPMA_LOCALITY localities) {
  check("PolicyLocality", Esys_PolicyLocality(esys_, session, kNone, kNone, kNone, localities));
}

void Tpm::policy_password(ESYS_TR session) {
  check("PolicyPassword", Esys_PolicyPassword(esys_, session, kNone, kNone, kNone));
}

void Tpm::policy_auth_value(ESYS_TR session) {
  check("PolicyAuthValue", Esys_PolicyAuthValue(esys_, session, kNone, kNone, kNone));
}

void Tpm::policy_cp_hash(ESYS_TR session, const TPM2B_DIGEST& hash) {
  check("PolicyCpHash", Esys_PolicyCpHash(esys_, session, kNone, kNone, kNone, &hash));
}

void Tpm::policy_name_hash(ESYS_TR session, const TPM2B_DIGEST& hash) {
  check("PolicyNameHash", Esys_PolicyNameHash(esys_, session, kNone, kNone, kNone, &hash));
}

void Tpm::policy_duplication_select(ESYS_TR session, const TPM2B_NAME& object, const TPM2B_NAME& new_parent) {
  check("PolicyDuplicationSelect",
        Esys_PolicyDuplicationSelect(esys_, session, kNone, kNone, kNone, &object, &new_parent, TPM2_NO));
}

void Tpm::policy_template(ESYS_TR session, const TPM2B_DIGEST& hash) {
  check("PolicyTemplate", Esys_PolicyTemplate(esys_, session, kNone, kNone, kNone, &hash));
}

void Tpm::policy_nv_written(ESYS_TR session) {
  check("PolicyNvWritten", Esys_PolicyNvWritten(esys_, session, kNone, kNone, kNone, TPM2_YES));
}

Ticket Tpm::policy_signed(ESYS_TR session, ESYS_TR key, const TPM2B_NONCE& nonce, std::int32_t expiration,
                          const TPMT_SIGNATURE& signature) {
  const TPM2B_DIGEST any_command{};
  const TPM2B_NONCE no_reference{};
  TPM2B_TIMEOUT* timeout = nullptr;
  TPMT_TK_AUTH* ticket = nullptr;
  check("PolicySigned", Esys_PolicySigned(esys_, key, session, kNone, kNone, kNone, &nonce, &any_command, &no_reference,
                                          expiration, &signature, &timeout, &ticket));
  return {*Owned<TPM2B_TIMEOUT>(timeout), *Owned<TPMT_TK_AUTH>(ticket)};
}

void Tpm::policy_ticket(ESYS_TR session, const TPM2B_NAME& authority, const Ticket& ticket) {
  const TPM2B_DIGEST any_command{};
  const TPM2B_NONCE no_reference{};
  check("PolicyTicket", Esys_PolicyTicket(esys_, session, kNone, kNone, kNone, &ticket.timeout, &any_command,
                                          &no_reference, &authority, &ticket.ticket));
}

void Tpm::policy_authorize(ESYS_TR session, const Approval& approval) {
  check("PolicyAuthorize", Esys_PolicyAuthorize(esys_, session, kNone, kNone, kNone, &approval.approved,
                                                &approval.reference, &approval.authority, &approval.ticket));
}

void Tpm::policy_secret(ESYS_TR session, ESYS_TR entity, ESYS_TR authorized_by, const TPM2B_NONCE& nonce) {
  const TPM2B_DIGEST any_command{};
  const TPM2B_NONCE no_reference{};
  check("PolicySecret", Esys_PolicySecret(esys_, entity, session, authorized_by, kNone, kNone, &nonce, &any_command,
                                          &no_reference, 0, nullptr, nullptr));
}

// --- the chip

void Tpm::extend_pcr(unsigned pcr) {
  TPML_DIGEST_VALUES event{};
  event.count = 1;
  event.digests[0].hashAlg = kSha256;
  event.digests[0].digest.sha256[0] = 1;
  // ESYS_TR_PCR0 to ESYS_TR_PCR31 are 0 to 31.
  check("PCR_Extend", Esys_PCR_Extend(esys_, ESYS_TR_PCR0 + pcr, ESYS_TR_PASSWORD, kNone, kNone, &event));
}

std::uint32_t Tpm::pcr_update_counter() {
  const TPML_PCR_SELECTION pcrs = select_pcr(0);
  std::uint32_t counter = 0;
  check("PCR_Read", Esys_PCR_Read(esys_, kNone, kNone, kNone, &pcrs, &counter, nullptr, nullptr));
  return counter;
}

std::uint32_t Tpm::lockout_counter() {
  TPMS_CAPABILITY_DATA* data = nullptr;
  check("GetCapability", Esys_GetCapability(esys_, kNone, kNone, kNone, TPM2_CAP_TPM_PROPERTIES,
                                            TPM2_PT_LOCKOUT_COUNTER, 1, nullptr, &data));
  const Owned<TPMS_CAPABILITY_DATA> owned(data);
  const auto& properties = owned->data.tpmProperties;
  if (properties.count != 1 || properties.tpmProperty[0].property != TPM2_PT_LOCKOUT_COUNTER)
    throw Failure{"no lockout counter", TSS2_RC_SUCCESS};
  return properties.tpmProperty[0].value;
}

}  // namespace tpmspace::storm
