#include "space/policy_log.h"

#include <algorithm>

#include "space/session_hmac.h"

namespace tpmspace::space {

using wire::Command;
using wire::PolicyEffect;
namespace cc = wire::cc;

namespace {

constexpr std::uint32_t kNullHandle = 0x40000007;  // TPM_RH_NULL
constexpr std::uint16_t kAlgNull = 0x0010;
constexpr std::uint8_t kPolicy = 1, kTrial = 3;  // TPM_SE

}  // namespace

bool PolicyLog::has(wire::CommandCode code) const {
  return std::any_of(steps.begin(), steps.end(), [code](const PolicyStep& step) { return step.code == code; });
}

std::size_t PolicyLog::size() const {
  std::size_t out = sizeof(*this) + start.size() + digest.size();
  for (const PolicyStep& step : steps) out += step.size();
  return out;
}

void PolicyLog::clear() {
  if (passes(rebuildable)) rebuildable = Rebuildable::kYes;
  password = false;
  steps.clear();
  digest.clear();
  pcr_counter = 0;
  pcr_changed = false;
}

PolicyLog log_of_start(const Command& start) {
  PolicyLog out;
  // nonceCaller, encryptedSalt, sessionType, symmetric (its algorithm; key bits and mode unless that is NULL),
  // authHash.
  wire::Reader in(start.parameters());
  const auto nonce = in.tpm2b();
  const auto salt = in.tpm2b();
  const auto type = in.u8();
  const auto symmetric = in.u16();
  if (!nonce || !salt || !type || !symmetric) return out;
  if (*symmetric != kAlgNull && !in.take(4)) return out;
  const auto hash = in.u16();
  if (!hash) return out;
  out.hash = *hash;
  out.decrypts = *symmetric != kAlgNull;
  if (*type != kPolicy && *type != kTrial) return out;
  const bool secret = start.handle(0).value != kNullHandle || start.handle(1).value != kNullHandle;
  if (secret || start.has_sessions()) {
    out.rebuildable = Rebuildable::kSecret;
  } else if (!knows_hash(*hash)) {
    out.rebuildable = Rebuildable::kHash;
  } else {
    out.rebuildable = Rebuildable::kYes;
    out.start = wire::to_bytes(start.bytes());
  }
  return out;
}

std::optional<wire::ClientHandle> policy_session_of(const Command& command) {
  if (command.row().policy == PolicyEffect::kNone || command.handle_count() == 0) return std::nullopt;
  const wire::ClientHandle last = command.handle(command.handle_count() - 1);
  return wire::is_session(last.value) ? std::optional(last) : std::nullopt;
}

bool has_nonce_of_session(const Command& step) {
  if (step.code() != cc::kPolicySigned && step.code() != cc::kPolicySecret) return false;
  return wire::Reader(step.parameters()).u16().value_or(0) != 0;  // its size can be read also when it is encrypted
}

bool can_be_repeated(const Command& step) {
  const PolicyEffect effect = step.row().policy;
  if (effect != PolicyEffect::kStep && effect != PolicyEffect::kFreshStep) return false;
  return !step.first_parameter_encrypted() && !has_nonce_of_session(step);
}

PolicyStep step_of(const Command& step, wire::ByteView key_context) {
  PolicyStep out;
  out.code = step.code();
  out.parameters = wire::to_bytes(step.parameters());
  out.key_context = wire::to_bytes(key_context);
  if (step.handle_count() > 1 && key_context.empty()) out.key = step.handle(0).value;
  return out;
}

}  // namespace tpmspace::space
