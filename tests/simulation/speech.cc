#include "speech.h"

#include "digest.h"
#include "object_slots.h"
#include "wire/command.h"
#include "wire/command_table.h"
#include "wire/handle.h"
#include "wire/response.h"

namespace tpmspace::simulation::speech {
namespace {

using wire::Bytes;
using wire::ByteView;
using wire::Writer;
namespace cc = wire::cc;
namespace attribute = object_attribute;

constexpr std::uint32_t kRhNull = 0x40000007;
constexpr std::uint32_t kRhLockout = 0x4000000A;
constexpr std::uint32_t kFixed = attribute::kFixedTpm | attribute::kFixedParent;
constexpr std::uint32_t kUsable = attribute::kUserWithAuth | attribute::kNoDa;

Bytes sealed_sensitive(Template kind, std::uint64_t individual, ByteView auth_value) {
  return Writer().tpm2b(Writer().tpm2b(auth_value).tpm2b(secret_of(kind, individual)).bytes()).take();
}

// inSensitive, inPublic, outsideInfo, creationPCR.
Bytes creation(Template kind, std::uint64_t individual, ByteView auth_value) {
  return Writer()
      .raw(sealed_sensitive(kind, individual, auth_value))
      .tpm2b(template_of(kind))
      .tpm2b(Writer().u64(individual).bytes())
      .u32(0)
      .take();
}

Writer public_area(std::uint16_t type, std::uint32_t attributes, ByteView policy) {
  Writer out;
  out.u16(type).u16(alg::kSha256).u32(attributes).tpm2b(policy);
  return out;
}

Bytes parent_template(std::uint32_t extra, ByteView policy = {}) {
  constexpr std::uint16_t kKeyBits = 128;
  const auto attributes =
      kFixed | kUsable | attribute::kSensitiveDataOrigin | attribute::kRestricted | attribute::kDecrypt | extra;
  return public_area(alg::kSymCipher, attributes, policy).u16(alg::kAes).u16(kKeyBits).u16(alg::kCfb).u16(0).take();
}

Bytes hmac_key_template(std::uint32_t extra, std::uint32_t usable = kUsable) {
  return public_area(alg::kKeyedHash, kFixed | usable | attribute::kSign | extra, {})
      .u16(alg::kHmac)
      .u16(alg::kSha256)
      .u16(0)
      .take();
}

Bytes sealed_with(ByteView policy, std::uint32_t extra = attribute::kNoDa) {
  return public_area(alg::kKeyedHash, kFixed | extra, policy).u16(alg::kNull).u16(0).take();
}

// The policy of one step: the data hashed after its code.
Bytes one_step(std::uint32_t code, ByteView behind) {
  return sha256({Bytes(kDigestSize, 0), Writer().u32(code).bytes(), behind});
}

Bytes branch_policy() {
  Writer both;
  for (const Bytes& branch : branches()) both.raw(branch);
  return one_step(cc::kPolicyOR, both.bytes());
}

Bytes selection_of(std::optional<std::uint32_t> pcr) {
  if (!pcr) return Writer().u32(0).take();
  Bytes selection(3, 0);
  selection[*pcr / 8] = static_cast<std::uint8_t>(1U << (*pcr % 8));
  return Writer().u32(1).u16(alg::kSha256).u8(3).raw(selection).take();
}

Bytes no_parameters(std::uint32_t code, const std::vector<std::uint32_t>& handles, const Auths& auths) {
  return command(code, handles, auths, {});
}

}  // namespace

Bytes template_of(Template kind) {
  switch (kind) {
    case Template::kParent:
      return parent_template(0);
    case Template::kStClearParent:
      return parent_template(attribute::kStClear);
    case Template::kHmacKey:
      return hmac_key_template(0);
    case Template::kStClearKey:
      return hmac_key_template(attribute::kStClear);
    case Template::kAdminPolicyKey:
      return hmac_key_template(attribute::kAdminWithPolicy);
    case Template::kSealed:
      return public_area(alg::kKeyedHash, kFixed | kUsable, {}).u16(alg::kNull).u16(0).take();
    case Template::kPolicySealed:
      return sealed_with(unseal_policy());
    case Template::kPcrSealed:
      return sealed_with(pcr_policy());
    case Template::kPasswordSealed:
      return sealed_with(one_step(cc::kPolicyAuthValue, {}));
    case Template::kBranchSealed:
      return sealed_with(branch_policy());
    case Template::kProtectedKey:
      return hmac_key_template(0, attribute::kUserWithAuth);
    case Template::kProtectedSealed:
      return sealed_with({}, attribute::kUserWithAuth);
    case Template::kProtectedPasswordSealed:
      return sealed_with(one_step(cc::kPolicyAuthValue, {}), 0);
  }
  return {};
}

Bytes secret_of(Template kind, std::uint64_t individual) {
  if (kind == Template::kParent || kind == Template::kStClearParent) return {};
  return sha256({text("secret of"), Writer().u64(individual).bytes()});
}

Bytes unseal_policy() {
  return one_step(cc::kPolicyCommandCode, Writer().u32(cc::kUnseal).bytes());
}

Bytes pcr_policy() {
  return one_step(cc::kPolicyPCR,
                  Writer().raw(selection_of(kUntouchedPcr)).raw(sha256({Bytes(kDigestSize, 0)})).bytes());
}

std::vector<Bytes> branches() {
  return {unseal_policy(), pcr_policy()};
}

Bytes command(std::uint32_t code, const std::vector<std::uint32_t>& handles, const Auths& auths, ByteView parameters) {
  Writer body;
  for (const auto handle : handles) body.u32(handle);
  if (!auths.empty()) {
    Writer area;
    for (const auto& auth : auths) {
      const bool password = auth.session == wire::kPasswordSession;
      area.u32(auth.session).tpm2b(Bytes(password ? 0 : 16, 0x5A)).u8(auth.attributes).tpm2b(auth.secret);
    }
    body.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
  }
  body.raw(parameters);
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size());
  const auto tag = auths.empty() ? wire::kTagNoSessions : wire::kTagSessions;
  return Writer().u16(tag).u32(size).u32(code).raw(body.bytes()).take();
}

Bytes startup(bool state) {
  return command(cc::kStartup, {}, {}, Writer().u16(state ? 1 : 0).bytes());
}
Bytes shutdown(bool state) {
  return command(cc::kShutdown, {}, {}, Writer().u16(state ? 1 : 0).bytes());
}

Bytes get_capability(std::uint32_t capability, std::uint32_t property, std::uint32_t count, const Auths& auths) {
  return command(cc::kGetCapability, {}, auths, Writer().u32(capability).u32(property).u32(count).bytes());
}

Bytes get_random(std::uint16_t count, const Auths& auths) {
  return command(cc::kGetRandom, {}, auths, Writer().u16(count).bytes());
}

Bytes read_clock() {
  return no_parameters(cc::kReadClock, {}, {});
}

Bytes create_primary(std::uint32_t hierarchy, const Auths& auths, Template kind, std::uint64_t individual,
                     ByteView auth_value) {
  return command(cc::kCreatePrimary, {hierarchy}, auths, creation(kind, individual, auth_value));
}

Bytes create(std::uint32_t parent, const Auths& auths, Template kind, std::uint64_t individual, ByteView auth_value) {
  return command(cc::kCreate, {parent}, auths, creation(kind, individual, auth_value));
}

Bytes create_loaded(std::uint32_t parent, const Auths& auths, Template kind, std::uint64_t individual,
                    ByteView auth_value) {
  // A TPM makes a new key each time; the model makes the same one of the same template. So no two are the same.
  const bool is_parent = kind == Template::kParent || kind == Template::kStClearParent;
  const bool child_parent = is_parent && wire::kind_of(parent) != wire::HandleKind::kPermanent;
  const Bytes individual_policy = sha256({Writer().u64(individual).bytes()});
  const Bytes area = child_parent
                         ? parent_template(kind == Template::kParent ? 0 : attribute::kStClear, individual_policy)
                         : template_of(kind);
  const Bytes parameters = Writer().raw(sealed_sensitive(kind, individual, auth_value)).tpm2b(area).take();
  return command(cc::kCreateLoaded, {parent}, auths, parameters);
}

Bytes load(std::uint32_t parent, const Auths& auths, ByteView wrapped) {
  return command(cc::kLoad, {parent}, auths, wrapped);
}

Bytes load_external(std::uint32_t hierarchy, std::uint64_t individual, bool with_secret) {
  const Bytes key = secret_of(Template::kHmacKey, individual);
  const Bytes seed(kDigestSize, 0x11);
  Writer sensitive;
  if (with_secret) sensitive.u16(alg::kKeyedHash).u16(0).tpm2b(seed).tpm2b(key);
  Writer area = public_area(alg::kKeyedHash, kUsable | attribute::kSign, {});
  area.u16(alg::kHmac).u16(alg::kSha256).tpm2b(sha256({seed, key}));
  return command(cc::kLoadExternal, {}, {},
                 Writer().tpm2b(sensitive.bytes()).tpm2b(area.bytes()).u32(hierarchy).bytes());
}

Bytes read_public(std::uint32_t object, const Auths& auths) {
  return no_parameters(cc::kReadPublic, {object}, auths);
}

Bytes nv_read_public(std::uint32_t index) {
  return command(cc::kNVReadPublic, {index}, {}, {});
}
Bytes sign(std::uint32_t key, const Auths& auths, ByteView digest) {
  constexpr std::uint16_t kTicketHashCheck = 0x8024;
  return command(cc::kSign, {key}, auths,
                 Writer().tpm2b(digest).u16(alg::kNull).u16(kTicketHashCheck).u32(kRhNull).u16(0).bytes());
}

Bytes unseal(std::uint32_t object, const Auths& auths) {
  return no_parameters(cc::kUnseal, {object}, auths);
}

Bytes object_change_auth(std::uint32_t object, std::uint32_t parent, const Auths& auths, ByteView value) {
  return command(cc::kObjectChangeAuth, {object, parent}, auths, Writer().tpm2b(value).bytes());
}

Bytes evict_control(std::uint32_t hierarchy, std::uint32_t object, const Auths& auths, std::uint32_t persistent) {
  return command(cc::kEvictControl, {hierarchy, object}, auths, Writer().u32(persistent).bytes());
}

Bytes context_save(std::uint32_t handle) {
  return no_parameters(cc::kContextSave, {handle}, {});
}
Bytes context_load(ByteView context) {
  return command(cc::kContextLoad, {}, {}, context);
}
Bytes flush_context(std::uint32_t handle) {
  return command(cc::kFlushContext, {}, {}, Writer().u32(handle).bytes());
}

Bytes hash_sequence_start(ByteView auth_value, bool event) {
  return command(cc::kHashSequenceStart, {}, {},
                 Writer().tpm2b(auth_value).u16(event ? alg::kNull : alg::kSha256).bytes());
}

Bytes hmac_start(std::uint32_t key, const Auths& auths, ByteView auth_value) {
  return command(cc::kHMACStart, {key}, auths, Writer().tpm2b(auth_value).u16(alg::kSha256).bytes());
}

Bytes sequence_update(std::uint32_t sequence, const Auths& auths, ByteView data) {
  return command(cc::kSequenceUpdate, {sequence}, auths, Writer().tpm2b(data).bytes());
}

Bytes sequence_complete(std::uint32_t sequence, const Auths& auths, ByteView data) {
  return command(cc::kSequenceComplete, {sequence}, auths, Writer().tpm2b(data).u32(kRhNull).bytes());
}

Bytes event_sequence_complete(std::uint32_t pcr, std::uint32_t sequence, const Auths& auths, ByteView data) {
  return command(cc::kEventSequenceComplete, {pcr, sequence}, auths, Writer().tpm2b(data).bytes());
}

Bytes start_auth_session(std::uint32_t tpm_key, std::uint32_t bind, SessionKind kind) {
  const Bytes nonce(16, 0xA5);
  const Bytes salt(tpm_key == kRhNull ? 0 : 32, 0x77);
  return command(
      cc::kStartAuthSession, {tpm_key, bind}, {},
      Writer().tpm2b(nonce).tpm2b(salt).u8(static_cast<std::uint8_t>(kind)).u16(alg::kNull).u16(alg::kSha256).bytes());
}

Bytes policy_command_code(std::uint32_t session, std::uint32_t code) {
  return command(cc::kPolicyCommandCode, {session}, {}, Writer().u32(code).bytes());
}

Bytes policy_plain(std::uint32_t code, std::uint32_t session) {
  return no_parameters(code, {session}, {});
}

Bytes policy_pcr(std::uint32_t session, std::optional<std::uint32_t> pcr, ByteView expected) {
  return command(cc::kPolicyPCR, {session}, {}, Writer().tpm2b(expected).raw(selection_of(pcr)).bytes());
}

Bytes policy_or(std::uint32_t session, const std::vector<Bytes>& branches) {
  Writer parameters;
  parameters.u32(static_cast<std::uint32_t>(branches.size()));
  for (const Bytes& branch : branches) parameters.tpm2b(branch);
  return command(cc::kPolicyOR, {session}, {}, parameters.bytes());
}

Bytes policy_octet(std::uint32_t code, std::uint32_t session, std::uint8_t octet) {
  return command(code, {session}, {}, Writer().u8(octet).bytes());
}

Bytes policy_secret(std::uint32_t entity, std::uint32_t session, const Auths& auths) {
  return command(cc::kPolicySecret, {entity, session}, auths, Writer().u16(0).u16(0).u16(0).u32(0).bytes());
}

Bytes clear(std::uint32_t authority, const Auths& auths) {
  return no_parameters(cc::kClear, {authority}, auths);
}
Bytes dictionary_attack_lock_reset() {
  return no_parameters(cc::kDictionaryAttackLockReset, {kRhLockout}, {Auth{}});
}
Bytes dictionary_attack_parameters(std::uint32_t tries, std::uint32_t recovery) {
  return command(cc::kDictionaryAttackParameters, {kRhLockout}, {Auth{}},
                 Writer().u32(tries).u32(recovery).u32(recovery).bytes());
}
Bytes change_seed(std::uint32_t code, const Auths& auths) {
  return no_parameters(code, {0x4000000C}, auths);
}

Bytes hierarchy_control(std::uint32_t authority, const Auths& auths, std::uint32_t target, bool on) {
  return command(cc::kHierarchyControl, {authority}, auths, Writer().u32(target).u8(on ? 1 : 0).bytes());
}

Bytes pcr_extend(std::uint32_t pcr, const Auths& auths, ByteView digest) {
  return command(cc::kPCRExtend, {pcr}, auths, Writer().u32(1).u16(alg::kSha256).raw(digest).bytes());
}

Bytes pcr_read(std::uint32_t pcr) {
  return command(cc::kPCRRead, {}, {}, selection_of(pcr));
}

Bytes Heard::tpm2b(std::size_t index) const {
  wire::Reader in(parameters);
  for (std::size_t i = 0; i < index; ++i) static_cast<void>(in.tpm2b());
  return wire::to_bytes(in.tpm2b().value_or(ByteView{}));
}

std::uint32_t property_value(const Heard& heard) {
  wire::Reader in(heard.parameters);
  static_cast<void>(in.take(13));  // moreData, capability, count, property
  return in.u32().value_or(0);
}

std::optional<Heard> hear(ByteView command, ByteView response) {
  const auto header = wire::read_header(command);
  const auto* row = header ? wire::CommandTable::builtin().find(header->code) : nullptr;
  if (row == nullptr) {
    const auto answer = wire::read_header(response);
    if (!answer || answer->code == 0 || response.size() != wire::kHeaderSize) return std::nullopt;
    return Heard{answer->code, 0, {}, {}};
  }
  const auto parsed = wire::Response::parse(wire::to_bytes(response), *row, header->tag == wire::kTagSessions);
  if (!parsed) return std::nullopt;
  Heard out;
  out.code = parsed->code();
  if (parsed->handle()) out.handle = parsed->handle()->value;
  if (parsed->ok()) out.parameters = wire::to_bytes(parsed->parameters());
  for (const auto& authorization : parsed->authorizations()) out.session_attributes.push_back(authorization.attributes);
  return out;
}

}  // namespace tpmspace::simulation::speech
