// The authorization area of a command, and that of its response.
// Source: TPM 2.0 library, Part 1, 18.6 and 19; Part 4, 6.4 (SessionProcess.c), 8.2 (DA.c). tpm-behaviour 9, 21,
// 22, 33.
#include "codes.h"
#include "digest.h"
#include "model_state.h"

namespace tpmspace::simulation {
namespace {

using wire::Rc;
namespace session_attribute = wire::session_attribute;

constexpr std::size_t kLargestNonce = 64;

Rc take_tpm2b(wire::Reader& in, wire::Bytes& out) {
  const auto size = in.u16();
  if (!size) return wire::rc::kInsufficient;
  if (*size > kLargestNonce) return wire::rc::kSize;
  const auto body = in.take(*size);
  if (!body) return wire::rc::kInsufficient;
  out = wire::to_bytes(*body);
  return wire::rc::kSuccess;
}

Rc take_use(const ModelTpm::Limits& limits, wire::Reader& in, SessionUse& use, wire::Bytes& nonce) {
  const auto handle = in.u32();
  if (!handle) return wire::rc::kInsufficient;
  use.handle = *handle;
  const bool session = wire::is_session(use.handle) && wire::number_of(use.handle) < limits.active_sessions;
  if (!session && !use.is_password()) return wire::rc::kValue;
  if (const Rc code = take_tpm2b(in, nonce); code != 0) return code;
  const auto attributes = in.u8();
  if (!attributes) return wire::rc::kInsufficient;
  use.attributes = *attributes;
  if (use.has(session_attribute::kReserved)) return wire::rc::kReservedBits;
  return take_tpm2b(in, use.hmac);
}

Rc check_password_form(const SessionUse& use, const wire::Bytes& nonce) {
  constexpr std::uint8_t kOthers = session_attribute::kAuditExclusive | session_attribute::kAuditReset |
                                   session_attribute::kDecrypt | session_attribute::kEncrypt |
                                   session_attribute::kAudit;
  if (use.has(kOthers)) return wire::rc::kAttributes;
  return nonce.empty() ? wire::rc::kSuccess : codes::kNonce;
}

// For a session that is there and of the right type.
Rc check_attributes(const Call& call, const SessionUse& use, const Session& session) {
  if (use.has(session_attribute::kDecrypt) || use.has(session_attribute::kEncrypt))
    return codes::kSymmetric;  // always NULL here
  if (!use.has(session_attribute::kAudit)) return wire::rc::kSuccess;
  for (const auto& earlier : call.uses)
    if (earlier.has(session_attribute::kAudit)) return wire::rc::kAttributes;
  if (session.is_policy()) return wire::rc::kAttributes;
  const bool goes_on = session.audit && !use.has(session_attribute::kAuditReset);
  if (goes_on && use.has(session_attribute::kAuditExclusive) && call.tpm.exclusive_audit_session != use.handle)
    return codes::kExclusive;
  return wire::rc::kSuccess;
}

Rc check_session(const Call& call, const SessionUse& use, std::size_t index) {
  const std::uint32_t number = wire::number_of(use.handle);
  if (!call.tpm.sessions.is_loaded(number)) return wire::rc::kReferenceS0 + static_cast<Rc>(index);
  const Session& session = call.tpm.sessions.get(number);
  const bool says_policy = wire::kind_of(use.handle) == wire::HandleKind::kPolicySession;
  if (session.is_policy() != says_policy) return codes::at_session(wire::rc::kHandle, index);
  for (const auto& earlier : call.uses)
    if (earlier.handle == use.handle) return codes::at_session(wire::rc::kHandle, index);
  return codes::at_session(check_attributes(call, use, session), index);
}

Rc take_uses(wire::ByteView area, Call& call) {
  wire::Reader in(area);
  while (!in.empty()) {
    const std::size_t index = call.uses.size();
    if (index == wire::kMaxAuthorizations) return codes::at_session(wire::rc::kSize, index);
    SessionUse use;
    wire::Bytes nonce;
    if (const Rc code = take_use(call.tpm.limits, in, use, nonce); code != 0) return codes::at_session(code, index);
    const Rc code =
        use.is_password() ? codes::at_session(check_password_form(use, nonce), index) : check_session(call, use, index);
    if (code != 0) return code;
    call.uses.push_back(std::move(use));
  }
  return wire::rc::kSuccess;
}

// The entity whose use is to be authorized.
struct Entity {
  const Object* object = nullptr;  // null: a hierarchy, lockout or a PCR; their auth values are empty here
  bool admin = false;

  [[nodiscard]] wire::Bytes auth() const { return object != nullptr ? object->auth : wire::Bytes{}; }
  [[nodiscard]] bool is_protected() const { return object != nullptr && object->is_protected(); }
  [[nodiscard]] bool admin_with_policy() const { return object->area.has(object_attribute::kAdminWithPolicy); }
  [[nodiscard]] bool auth_value_available() const {
    if (object == nullptr || object->is_sequence()) return true;
    if (object->public_only) return false;
    return object->area.has(object_attribute::kUserWithAuth) || (admin && !admin_with_policy());
  }
  [[nodiscard]] bool policy_available() const {
    return object != nullptr && !object->public_only && !object->is_sequence();
  }
};

// Whether a TPMA_LOCALITY allows it: five bits, or one extended locality.
bool is_at(std::uint8_t allowed, std::uint8_t locality) {
  constexpr std::uint8_t kExtended = 32;
  return allowed < kExtended ? (allowed >> locality & 1) != 0 : allowed == locality;
}

Rc check_policy(const Call& call, const Session& session, const Entity& entity) {
  if (call.code == wire::cc::kPolicySecret && !session.password_needed && !session.auth_value_needed)
    return codes::kMode;
  if (session.pcr_counter != 0 && session.pcr_counter != call.tpm.chip->pcr_counter) return wire::rc::kPcrChanged;
  if (entity.object->area.policy != session.policy_digest) return codes::kPolicyFail;
  if (session.command_code != 0 && session.command_code != call.code) return codes::kPolicyCc;
  if (session.command_code == 0 && entity.admin) return codes::kPolicyFail;
  if (session.locality != 0 && !is_at(session.locality, call.locality)) return wire::rc::kLocality;
  if (session.nv_written) return codes::kPolicyFail;  // the entity is no NV index
  return wire::rc::kSuccess;
}

// No client computes an HMAC here: the empty HMAC of an empty key is right without computing.
bool secret_is_right(const SessionUse& use, const Session* session, const Entity& entity) {
  const bool password = session == nullptr || session->password_needed;
  if (password) return without_trailing_zeros(use.hmac) == entity.auth();
  const bool auth_in_key = !session->is_policy() || session->auth_value_needed;
  const bool empty_key = !session->keyed && !(auth_in_key && !entity.auth().empty());
  return empty_key && use.hmac.empty();
}

// The first use of something protected since the start is written down, so that cutting the power costs a try.
Rc check_lockout(const Call& call) {
  TryCount& tries = call.tpm.chip->tries;
  if (tries.failed >= tries.max) return wire::rc::kLockout;
  if (tries.protected_used) return wire::rc::kSuccess;
  tries.protected_used = true;
  tries.marked = true;
  call.tpm.saved_state.reset();
  return wire::rc::kRetry;
}

Rc count_failure(const Call& call) {
  TryCount& tries = call.tpm.chip->tries;
  if (tries.recovery != 0) ++tries.failed;
  tries.since = call.tpm.clock.now();
  return wire::rc::kAuthFail;
}

Rc authorize(const Call& call, const SessionUse& use, const Session* session, const Entity& entity) {
  const bool auth_used =
      session == nullptr || !session->is_policy() || session->password_needed || session->auth_value_needed;
  if (auth_used && entity.is_protected())
    if (const Rc code = check_lockout(call); code != 0) return code;
  if (session != nullptr && session->is_policy()) {
    if (!entity.policy_available()) return codes::kAuthUnavailable;
    if (const Rc code = check_policy(call, *session, entity); code != 0) return code;
  } else {
    if (entity.admin && entity.object != nullptr && entity.admin_with_policy()) return codes::kAuthType;
    if (!entity.auth_value_available()) return codes::kAuthUnavailable;
  }
  if (secret_is_right(use, session, entity)) return wire::rc::kSuccess;
  const bool counted = (entity.is_protected() && auth_used) || (session != nullptr && session->bound_to_protected);
  return counted ? count_failure(call) : wire::rc::kBadAuth;
}

Rc check_use(const ModelRow& row, Call& call, std::size_t index) {
  const SessionUse& use = call.uses[index];
  const Session* session = nullptr;
  if (use.is_password()) {
    if (!use.authorizes) return wire::rc::kHandle;
  } else {
    session = &call.tpm.sessions.get(wire::number_of(use.handle));
    if (session->type == SessionType::kTrial) return wire::rc::kAttributes;
    if (session->bound_to_protected)
      if (const Rc code = check_lockout(call); code != 0) return code;
  }
  if (use.authorizes) {
    const Entity entity{wire::is_transient(call.handles[index]) ? call.object_or_null(index) : nullptr,
                        row.admin && index == 0};
    return authorize(call, use, session, entity);
  }
  if (!use.has(session_attribute::kAudit)) return wire::rc::kAttributes;
  if (!session->keyed && use.hmac.empty()) return wire::rc::kSuccess;
  return session->bound_to_protected ? count_failure(call) : wire::rc::kBadAuth;
}

void update_audit(Call& call) {
  std::uint32_t& exclusive = call.tpm.exclusive_audit_session;
  bool audited = false;
  for (auto& use : call.uses) {
    if (use.is_password() || !use.has(session_attribute::kAudit)) continue;
    audited = true;
    Session& session = call.tpm.sessions.get(wire::number_of(use.handle));
    if (!session.audit || use.has(session_attribute::kAuditReset)) {
      session.audit = true;
      exclusive = use.handle;
    } else if (exclusive != use.handle) {
      exclusive = 0;
    }
    use.attributes = static_cast<std::uint8_t>(use.attributes & ~session_attribute::kAuditExclusive);
    if (exclusive == use.handle) use.attributes |= session_attribute::kAuditExclusive;
  }
  if (!audited && sessions_allowed(call.code)) exclusive = 0;
}

}  // namespace

bool sessions_allowed(wire::CommandCode code) {
  return code != wire::cc::kStartup && code != wire::cc::kContextSave && code != wire::cc::kContextLoad &&
         code != wire::cc::kFlushContext;
}

Rc check_no_authorizations(const ModelRow& row) {
  return row.authorizations == 0 ? wire::rc::kSuccess : wire::rc::kAuthMissing;
}

Rc take_authorizations(const ModelRow& row, wire::ByteView area, Call& call) {
  if (const Rc code = take_uses(area, call); code != 0) return code;
  if (call.uses.size() < row.authorizations) return wire::rc::kAuthMissing;
  for (std::size_t i = 0; i < row.authorizations; ++i) call.uses[i].authorizes = true;
  for (std::size_t i = 0; i < call.uses.size(); ++i)
    if (const Rc code = check_use(row, call, i); code != 0) return codes::at_session(code, i);
  return wire::rc::kSuccess;
}

wire::Bytes finish_sessions(Call& call) {
  update_audit(call);
  wire::Writer out;
  for (auto& use : call.uses) {
    if (use.is_password()) {
      out.u16(0).u8(use.attributes | session_attribute::kContinue).u16(0);
      continue;
    }
    const std::uint32_t number = wire::number_of(use.handle);
    Session& session = call.tpm.sessions.get(number);
    out.tpm2b(call.tpm.random_bytes(session.nonce_size)).u8(use.attributes).u16(0);
    if (!use.has(session_attribute::kContinue))
      call.tpm.sessions.flush(number);
    else if (session.is_policy())
      session.reset_policy();
  }
  return out.take();
}

}  // namespace tpmspace::simulation
