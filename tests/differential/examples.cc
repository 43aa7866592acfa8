#include "examples.h"

#include "../support/tpm_commands.h"
#include "parts.h"
#include "wire/command.h"

namespace tpmspace::differential {

using namespace support;

namespace {

using W = Who;

constexpr Party kStorageT{W::kStorage}, kStorageP{W::kStorage, true}, kSignerT{W::kSigner}, kSignerP{W::kSigner, true},
    kSealedT{W::kSealed}, kSealedP{W::kSealed, true}, kDuplicableT{W::kDuplicable}, kDuplicableP{W::kDuplicable, true},
    kDhT{W::kDh}, kDhP{W::kDh, true}, kMacT{W::kMac}, kMacP{W::kMac, true}, kRsaT{W::kRsa}, kRsaP{W::kRsa, true},
    kCipherT{W::kCipher}, kCipherP{W::kCipher, true}, kX509T{W::kX509Signer}, kX509P{W::kX509Signer, true};
constexpr Party kOwnerH{W::kOwner}, kEndorsementH{W::kEndorsement}, kPlatformH{W::kPlatform}, kLockoutH{W::kLockout},
    kNullH{W::kNull}, kPcrH{W::kPcr}, kPolicy{W::kPolicySession}, kPlain{W::kNvPlain};

constexpr std::uint16_t kStCreation [[maybe_unused]] = 0x8021, kStHashCheck = 0x8024;

// --- parameters

Bytes empty_2b(World&) {
  return Writer().u16(0).take();
}
Bytes qualifying_and_scheme(World&) {
  return Writer().u16(0).u16(kAlgNull).take();
}
Bytes creation_parameters(World&) {
  return creation(sensitive(), ecc_signing_template());
}
Bytes child_blob(World& w) {
  return w.material().child;
}
Bytes sign_parameters(World& w) {
  return Writer().raw(w.material().digest).u16(kEcdsa).u16(kSha256).u16(kStHashCheck).u32(kNull).u16(0).take();
}
Bytes bytes(World&) {
  return Writer().tpm2b(Bytes(8, 7)).take();
}
Bytes bytes_at_0(World&) {
  return Writer().tpm2b(Bytes(8, 7)).u16(0).take();
}
Bytes bytes_and_sha256(World&) {
  return Writer().tpm2b(Bytes(8, 7)).u16(kSha256).take();
}
Bytes eight_at_0(World&) {
  return Writer().u16(8).u16(0).take();
}
Bytes compare_at_0(World&) {  // operandB, offset, TPM_EO_NEQ
  return Writer().tpm2b(Bytes(8, 9)).u16(0).u16(1).take();
}
Bytes clear_byte(World&) {
  return Writer().u8(0).take();
}
Bytes digest_32(World&) {
  return Writer().tpm2b(Bytes(32, 4)).take();
}
Bytes point(World& w) {
  return w.material().point;
}
Bytes no_duplication_key(World&) {
  return Writer().u16(0).u16(kAlgNull).take();
}
Bytes session_parameters(World&) {
  const Bytes nonce(16, 0x11);
  return Writer().tpm2b(nonce).u16(0).u8(0).u16(kAlgNull).u16(kSha256).take();
}
Bytes new_persistent(World&) {
  return Writer().u32(0x81000077).take();
}
Bytes signer_persistent(World& w) {
  return Writer().u32(w.handle(kSignerP)).take();
}
Bytes policy_secret(World&) {
  return Writer().u16(0).u16(0).u16(0).u32(0).take();
}
Bytes auth_and_sha256(World&) {
  return Writer().u16(0).u16(kSha256).take();
}
Bytes last_bytes(World&) {
  return Writer().tpm2b(Bytes(8, 7)).u32(kNull).take();
}
Bytes rewrap_parameters(World& w) {
  const Material& m = w.material();
  return Writer().raw(m.duplicate_private).raw(m.duplicate_name).raw(m.duplicate_seed).take();
}
Bytes import_parameters(World& w) {
  const Material& m = w.material();
  return Writer().u16(0).raw(m.duplicate_public).raw(m.duplicate_private).raw(m.duplicate_seed).u16(kAlgNull).take();
}
Bytes credential(World& w) {
  return w.material().credential;
}
Bytes credential_request(World& w) {
  return Writer().tpm2b(Bytes(16, 0x3C)).raw(w.material().signer_name).take();
}
Bytes certify_creation(World& w) {
  return Writer().u16(0).raw(w.material().creation_hash).u16(kAlgNull).raw(w.material().creation_ticket).take();
}
// partialCertificate: issuer, validity, subject, key usage (digital signature); Part 3, 18.8.
Bytes certificate_parameters(World&) {
  const std::uint8_t name[] = {0x30, 0x0C, 0x31, 0x0A, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0C, 0x01, 0x61};
  const std::uint8_t validity[] = {0x30, 0x1E};
  const std::uint8_t usage[] = {0xA3, 0x12, 0x30, 0x10, 0x30, 0x0E, 0x06, 0x03, 0x55, 0x1D,
                                0x0F, 0x01, 0x01, 0xFF, 0x04, 0x04, 0x03, 0x02, 0x07, 0x80};
  Writer dates;
  for (const char year : {'0', '9'}) {
    dates.u8(0x17).u8(13);
    for (const char c : {'2', year, '0', '1', '0', '1', '0', '0', '0', '0', '0', '0', 'Z'})
      dates.u8(static_cast<std::uint8_t>(c));
  }
  const Bytes body = Writer().raw(name).raw(validity).raw(dates.bytes()).raw(name).raw(usage).take();
  const Bytes whole = Writer().u8(0x30).u8(static_cast<std::uint8_t>(body.size())).raw(body).take();
  return Writer().u16(0).u16(kAlgNull).tpm2b(whole).take();
}
Bytes rsa_message(World&) {
  return Writer().tpm2b(Bytes(16, 0x3C)).u16(kOaep).u16(kSha256).u16(0).take();
}
Bytes rsa_cipher(World& w) {
  return Writer().raw(w.material().rsa_cipher).u16(kOaep).u16(kSha256).u16(0).take();
}
// A new ephemeral key each time: its counter is spent by success.
Bytes two_phase(World& w) {
  const auto out = w.demand(command(cc::kECEphemeral, {}, {}, Writer().u16(kP256).take())).parameters;
  const auto counter = ByteView(out).last(2);
  return Writer().raw(w.material().point).raw(w.material().point).u16(kEcdh).raw(counter).take();
}
Bytes cipher_old(World&) {
  return Writer().u8(0).u16(kCfb).tpm2b(Bytes(16)).tpm2b(Bytes(16, 1)).take();
}
Bytes cipher_new(World&) {
  return Writer().tpm2b(Bytes(16, 1)).u8(0).u16(kCfb).tpm2b(Bytes(16)).take();
}
Bytes commit_parameters(World&) {
  return Writer().raw(no_point()).u16(0).u16(0).take();
}
Bytes saved_signer(World& w) {
  return w.demand(context_save(w.handle(kSignerT))).parameters;
}
Bytes nv_definition(World&) {
  constexpr std::uint32_t kOwnerReadWriteNoDa = 0x02020002;
  return Writer().u16(0).raw(nv_public(0x01800077, kOwnerReadWriteNoDa, {}, 8)).take();
}

// --- the list, by command code

const std::vector<Example> kExamples = {
    {cc::kNVUndefineSpaceSpecial, {{W::kNvSpecial}, kPlatformH}, nullptr, 0, {}, true},
    {cc::kEvictControl, {kOwnerH, kSignerT}, new_persistent},
    {cc::kEvictControl, {kOwnerH, kSignerP}, signer_persistent},
    {cc::kHierarchyControl, {kPlatformH}, [](World&) { return Writer().u32(kEndorsement).u8(1).take(); }},
    {cc::kNVUndefineSpace, {kOwnerH, kPlain}},
    {cc::kChangeEPS, {kPlatformH}},
    {cc::kChangePPS, {kPlatformH}},
    {cc::kClear, {kLockoutH}},
    {cc::kClearControl, {kPlatformH}, clear_byte},
    {cc::kClockSet, {kOwnerH}, [](World&) { return Writer().u64(0x100000000).take(); }},
    {cc::kHierarchyChangeAuth, {kOwnerH}, empty_2b},
    {cc::kNVDefineSpace, {kOwnerH}, nv_definition},
    {cc::kPCRAllocate,
     {kPlatformH},
     [](World&) { return Writer().u32(1).u16(kSha256).u8(3).u8(255).u8(255).u8(255).take(); }},
    {cc::kPCRSetAuthPolicy, {kPlatformH}, [](World&) { return Writer().u16(0).u16(kAlgNull).u32(16).take(); }, 0x3C4},
    {cc::kPPCommands, {kPlatformH}, [](World&) { return Writer().u32(0).u32(0).take(); }, 0x990},
    {cc::kSetPrimaryPolicy, {kOwnerH}, no_duplication_key},
    {cc::kClockRateAdjust, {kOwnerH}, clear_byte},
    {cc::kCreatePrimary, {kOwnerH}, creation_parameters},
    {cc::kNVGlobalWriteLock, {kOwnerH}},
    {cc::kGetCommandAuditDigest, {kEndorsementH, kSignerT}, qualifying_and_scheme},
    {cc::kGetCommandAuditDigest, {kEndorsementH, kSignerP}, qualifying_and_scheme},
    {cc::kNVIncrement, {kOwnerH, {W::kNvCounter}}},
    {cc::kNVSetBits, {kOwnerH, {W::kNvBits}}, [](World&) { return Writer().u64(1).take(); }},
    {cc::kNVExtend, {kOwnerH, {W::kNvExtend}}, bytes},
    {cc::kNVWrite, {kOwnerH, kPlain}, bytes_at_0},
    {cc::kNVWrite, {kPlain, kPlain}, bytes_at_0},
    {cc::kNVWriteLock, {kOwnerH, {W::kNvLock}}},
    {cc::kDictionaryAttackLockReset, {kLockoutH}},
    {cc::kDictionaryAttackParameters, {kLockoutH}, [](World&) { return Writer().u32(1'000'000).u32(1).u32(1).take(); }},
    {cc::kNVChangeAuth, {{W::kNvChangeable}}, empty_2b, 0, {}, true},
    {cc::kPCREvent, {kPcrH}, bytes},
    {cc::kPCRReset, {kPcrH}},
    {cc::kSequenceComplete, {{W::kHashSequence}}, last_bytes},
    {cc::kSequenceComplete, {{W::kMacSequence}}, last_bytes},
    {cc::kSetAlgorithmSet, {kPlatformH}, [](World&) { return Writer().u32(0).take(); }},
    {cc::kSetCommandCodeAuditStatus, {kOwnerH}, [](World&) { return Writer().u16(kAlgNull).u32(0).u32(0).take(); }},
    {cc::kIncrementalSelfTest, {}, [](World&) { return Writer().u32(1).u16(kSha256).take(); }},
    {cc::kSelfTest, {}, clear_byte},
    {cc::kStartup, {}, [](World&) { return Writer().u16(0).take(); }, 0x100},
    {cc::kShutdown, {}, [](World&) { return Writer().u16(0).take(); }},
    {cc::kStirRandom, {}, bytes},
    {cc::kActivateCredential, {kSignerT, kStorageT}, credential},
    {cc::kActivateCredential, {kSignerP, kStorageP}, credential},
    {cc::kCertify, {kSealedT, kSignerT}, qualifying_and_scheme},
    {cc::kCertify, {kSealedT, kSignerP}, qualifying_and_scheme},
    {cc::kCertify, {kSealedP, kSignerP}, qualifying_and_scheme},
    {cc::kCertify, {kSignerP, kSignerP}, qualifying_and_scheme},
    {cc::kCertify, {kSealedT, kNullH}, qualifying_and_scheme},
    {cc::kPolicyNV, {kOwnerH, kPlain, kPolicy}, compare_at_0},
    {cc::kCertifyCreation, {kSignerT, kSignerT}, certify_creation},
    {cc::kCertifyCreation, {kSignerP, kSignerP}, certify_creation},
    {cc::kDuplicate, {kDuplicableT, kStorageT}, no_duplication_key, 0, {}, true},
    {cc::kDuplicate, {kDuplicableP, kStorageP}, no_duplication_key, 0, {}, true},
    {cc::kDuplicate, {kDuplicableT, kNullH}, no_duplication_key, 0, {}, true},
    {cc::kGetTime, {kEndorsementH, kSignerT}, qualifying_and_scheme},
    {cc::kGetTime, {kEndorsementH, kSignerP}, qualifying_and_scheme},
    {cc::kGetSessionAuditDigest,
     {kEndorsementH, kSignerT, {W::kHmacSession}},
     qualifying_and_scheme,
     0,
     {},
     false,
     true},
    {cc::kGetSessionAuditDigest,
     {kEndorsementH, kSignerP, {W::kHmacSession}},
     qualifying_and_scheme,
     0,
     {},
     false,
     true},
    {cc::kNVRead, {kOwnerH, kPlain}, eight_at_0},
    {cc::kNVReadLock, {kOwnerH, {W::kNvLock}}},
    {cc::kObjectChangeAuth, {kSealedT, kStorageT}, empty_2b},
    {cc::kObjectChangeAuth, {kSealedP, kStorageP}, empty_2b},
    {cc::kPolicySecret, {kOwnerH, kPolicy}, policy_secret},
    {cc::kPolicySecret, {kSignerT, kPolicy}, policy_secret},
    {cc::kPolicySecret, {kSignerP, kPolicy}, policy_secret},
    {cc::kRewrap, {kStorageT, kStorageT}, rewrap_parameters},
    {cc::kRewrap, {kStorageP, kStorageP}, rewrap_parameters},
    {cc::kCreate, {kStorageT}, creation_parameters},
    {cc::kCreate, {kStorageP}, creation_parameters},
    {cc::kECDHZGen, {kDhT}, point},
    {cc::kECDHZGen, {kDhP}, point},
    {cc::kHMAC, {kMacT}, bytes_and_sha256},
    {cc::kHMAC, {kMacP}, bytes_and_sha256},
    {cc::kImport, {kStorageT}, import_parameters},
    {cc::kImport, {kStorageP}, import_parameters},
    {cc::kLoad, {kStorageT}, child_blob},
    {cc::kLoad, {kStorageP}, child_blob},
    {cc::kQuote, {kSignerT}, [](World&) { return Writer().u16(0).u16(kAlgNull).raw(pcr_selection()).take(); }},
    {cc::kQuote, {kSignerP}, [](World&) { return Writer().u16(0).u16(kAlgNull).raw(pcr_selection()).take(); }},
    {cc::kRSADecrypt, {kRsaT}, rsa_cipher},
    {cc::kRSADecrypt, {kRsaP}, rsa_cipher},
    {cc::kHMACStart, {kMacT}, auth_and_sha256},
    {cc::kHMACStart, {kMacP}, auth_and_sha256},
    {cc::kSequenceUpdate, {{W::kHashSequence}}, bytes},
    {cc::kSign, {kSignerT}, sign_parameters},
    {cc::kSign, {kSignerP}, sign_parameters},
    {cc::kUnseal, {kSealedT}},
    {cc::kUnseal, {kSealedP}},
    {cc::kPolicySigned,
     {kSignerT, kPolicy},
     [](World& w) { return Writer().u16(0).u16(0).u16(0).u32(0).raw(w.material().policy_signature).take(); }},
    {cc::kPolicySigned,
     {kSignerP, kPolicy},
     [](World& w) { return Writer().u16(0).u16(0).u16(0).u32(0).raw(w.material().policy_signature).take(); }},
    {cc::kContextLoad, {}, saved_signer, 0, {kSignerT}},
    {cc::kContextSave, {kSignerT}},
    {cc::kContextSave, {{W::kHmacSession}}},
    {cc::kECDHKeyGen, {kDhT}},
    {cc::kECDHKeyGen, {kDhP}},
    {cc::kEncryptDecrypt, {kCipherT}, cipher_old},
    {cc::kEncryptDecrypt, {kCipherP}, cipher_old},
    {cc::kFlushContext, {}, [](World& w) { return Writer().u32(w.handle(kSignerT)).take(); }, 0, {kSignerT}},
    {cc::kFlushContext, {}, [](World& w) { return Writer().u32(w.handle(kPolicy)).take(); }},
    {cc::kLoadExternal,
     {},
     [](World& w) { return Writer().u16(0).raw(w.material().signer_public).u32(kOwner).take(); }},
    {cc::kMakeCredential, {kStorageT}, credential_request},
    {cc::kMakeCredential, {kStorageP}, credential_request},
    {cc::kNVReadPublic, {kPlain}},
    {cc::kPolicyAuthorize,
     {kPolicy},
     [](World& w) {
       return Writer().tpm2b(Bytes(32)).u16(0).raw(w.material().signer_name).raw(w.material().approval).take();
     }},
    {cc::kPolicyAuthValue, {kPolicy}},
    {cc::kPolicyCommandCode, {kPolicy}, [](World&) { return Writer().u32(cc::kSign).take(); }},
    {cc::kPolicyCounterTimer, {kPolicy}, compare_at_0},
    {cc::kPolicyCpHash, {kPolicy}, digest_32},
    {cc::kPolicyLocality, {kPolicy}, [](World&) { return Writer().u8(1).take(); }},
    {cc::kPolicyNameHash, {kPolicy}, digest_32},
    {cc::kPolicyOR, {kPolicy}, [](World&) { return Writer().u32(2).tpm2b(Bytes(32)).tpm2b(Bytes(32, 4)).take(); }},
    {cc::kPolicyTicket, {kPolicy}, [](World& w) { return w.material().policy_ticket; }},
    {cc::kReadPublic, {kSignerT}},
    {cc::kReadPublic, {kSignerP}},
    {cc::kRSAEncrypt, {kRsaT}, rsa_message},
    {cc::kRSAEncrypt, {kRsaP}, rsa_message},
    {cc::kStartAuthSession, {kNullH, kNullH}, session_parameters},
    {cc::kStartAuthSession, {kNullH, kSignerT}, session_parameters},
    {cc::kStartAuthSession, {kNullH, kSignerP}, session_parameters},
    {cc::kVerifySignature,
     {kSignerT},
     [](World& w) { return Writer().raw(w.material().digest).raw(w.material().signature).take(); }},
    {cc::kVerifySignature,
     {kSignerP},
     [](World& w) { return Writer().raw(w.material().digest).raw(w.material().signature).take(); }},
    {cc::kECCParameters, {}, [](World&) { return Writer().u16(kP256).take(); }},
    {cc::kGetCapability, {}, [](World&) { return Writer().u32(6).u32(0x100).u32(10).take(); }},
    {cc::kGetRandom, {}, [](World&) { return Writer().u16(8).take(); }},
    {cc::kGetTestResult, {}},
    {cc::kHash, {}, [](World&) { return Writer().tpm2b(Bytes(8, 7)).u16(kSha256).u32(kNull).take(); }},
    {cc::kPCRRead, {}, [](World&) { return pcr_selection(); }},
    {cc::kPolicyPCR, {kPolicy}, [](World&) { return Writer().u16(0).raw(pcr_selection()).take(); }},
    {cc::kPolicyRestart, {kPolicy}},
    {cc::kReadClock, {}},
    {cc::kPCRExtend, {kPcrH}, [](World&) { return Writer().u32(1).u16(kSha256).raw(Bytes(32, 3)).take(); }},
    {cc::kPCRSetAuthValue, {kPcrH}, empty_2b, 0x084},
    {cc::kNVCertify,
     {kSignerT, kOwnerH, kPlain},
     [](World&) { return Writer().u16(0).u16(kAlgNull).u16(8).u16(0).take(); }},
    {cc::kNVCertify,
     {kSignerP, kOwnerH, kPlain},
     [](World&) { return Writer().u16(0).u16(kAlgNull).u16(8).u16(0).take(); }},
    {cc::kEventSequenceComplete, {kPcrH, {W::kEventSequence}}, bytes},
    {cc::kHashSequenceStart, {}, auth_and_sha256},
    {cc::kPolicyPhysicalPresence, {kPolicy}},
    {cc::kPolicyDuplicationSelect,
     {kPolicy},
     [](World& w) { return Writer().raw(w.material().duplicate_name).raw(w.material().signer_name).u8(1).take(); }},
    {cc::kPolicyGetDigest, {kPolicy}},
    {cc::kTestParms, {}, [](World&) { return Writer().u16(kSymCipher).raw(aes_cfb()).take(); }},
    {cc::kCommit, {{W::kDaa}}, commit_parameters},
    {cc::kCommit, {{W::kDaa, true}}, commit_parameters},
    {cc::kPolicyPassword, {kPolicy}},
    {cc::kZGen2Phase, {kDhT}, two_phase},
    {cc::kZGen2Phase, {kDhP}, two_phase},
    {cc::kECEphemeral, {}, [](World&) { return Writer().u16(kP256).take(); }},
    {cc::kPolicyNvWritten, {kPolicy}, clear_byte},
    {cc::kPolicyTemplate, {kPolicy}, digest_32},
    {cc::kCreateLoaded,
     {kOwnerH},
     [](World&) { return Writer().raw(sensitive()).tpm2b(ecc_signing_template()).take(); }},
    {cc::kCreateLoaded,
     {kStorageT},
     [](World&) { return Writer().raw(sensitive()).tpm2b(ecc_signing_template()).take(); }},
    {cc::kCreateLoaded,
     {kStorageP},
     [](World&) { return Writer().raw(sensitive()).tpm2b(ecc_signing_template()).take(); }},
    {cc::kPolicyAuthorizeNV, {kOwnerH, {W::kNvPolicy}, kPolicy}},
    {cc::kEncryptDecrypt2, {kCipherT}, cipher_new},
    {cc::kEncryptDecrypt2, {kCipherP}, cipher_new},
    {cc::kCertifyX509, {kSignerT, kX509T}, certificate_parameters},
    {cc::kCertifyX509, {kSignerP, kX509P}, certificate_parameters},
};

std::string_view kind_of(Party party) {
  if (takes_a_slot(party)) return party.who >= Who::kHashSequence ? "sequence" : "transient";
  if (party.persistent) return "persistent";
  if (party.who == Who::kPcr) return "PCR";
  if (party.who >= Who::kNvPlain) return "NV";
  if (party.who >= Who::kHmacSession) return "session";
  return party.who == Who::kNull ? "null" : "hierarchy";
}

}  // namespace

const std::vector<Example>& examples() {
  return kExamples;
}

std::string name_of(const Example& example) {
  std::string out(wire::CommandTable::builtin().find(example.code)->name);
  for (std::size_t i = 0; i < example.handles.size(); ++i) {
    out += i == 0 ? "(" : ", ";
    out += kind_of(example.handles[i]);
  }
  return example.handles.empty() ? out : out + ")";
}

void stage(World& world, const Example& example, unsigned dummies) {
  auto cast = example.handles;
  cast.insert(cast.end(), example.also.begin(), example.also.end());
  world.arrange(cast, dummies);
}

Bytes command_of(World& world, const Example& example) {
  const auto& row = *wire::CommandTable::builtin().find(example.code);
  if (example.by_policy) world.permit(example.code);
  if (example.audited) world.audit();
  Writer body;
  for (const auto party : example.handles) body.u32(world.handle(party));
  if (row.auth_handles > 0) {
    Writer area;
    for (unsigned i = 0; i < row.auth_handles; ++i)
      area.raw(i == 0 && example.by_policy ? authorization(world.handle(kPolicy)) : password());
    body.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
  }
  if (example.parameters != nullptr) body.raw(example.parameters(world));
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size());
  return Writer()
      .u16(row.auth_handles > 0 ? wire::kTagSessions : wire::kTagNoSessions)
      .u32(size)
      .u32(example.code)
      .raw(body.bytes())
      .take();
}

bool changes_for_good(wire::CommandCode code) {
  switch (code) {
    case cc::kNVUndefineSpaceSpecial:
    case cc::kEvictControl:
    case cc::kHierarchyControl:
    case cc::kNVUndefineSpace:
    case cc::kChangeEPS:
    case cc::kChangePPS:
    case cc::kClear:
    case cc::kClockSet:
    case cc::kHierarchyChangeAuth:
    case cc::kNVDefineSpace:
    case cc::kPCRAllocate:
    case cc::kSetPrimaryPolicy:
    case cc::kNVGlobalWriteLock:
    case cc::kNVWriteLock:
    case cc::kNVReadLock:
    case cc::kNVChangeAuth:
    case cc::kPPCommands:
    case cc::kSetCommandCodeAuditStatus:
    case cc::kDictionaryAttackParameters:
      return true;
    default:
      return false;
  }
}

}  // namespace tpmspace::differential
