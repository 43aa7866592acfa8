#include "books/policy_log.h"

#include <algorithm>

#include "books/session_hmac.h"

namespace tpmspace::space {

using wire::Command;
using wire::PolicyEffect;
namespace cc = wire::cc;

namespace {

constexpr std::uint32_t kNullHandle = 0x40000007;  // TPM_RH_NULL
constexpr std::uint16_t kAlgXor = 0x000A, kAlgNull = 0x0010;
constexpr std::uint8_t kPolicy = 1, kTrial = 3;  // TPM_SE
constexpr std::size_t kMaxDigest = 64;

// The size of the fields after the algorithm in a TPMT_SYM_DEF (Part 2, 11.1.6), in bytes: key bits and mode of a block
// cipher, hash of XOR.
std::size_t size_after_algorithm(std::uint16_t algorithm) {
  if (algorithm == kAlgNull) return 0;
  return algorithm == kAlgXor ? 2 : 4;
}

// Whether a PolicySigned or PolicySecret has a nonce of the session. The nonce's size is readable even if the nonce is
// encrypted.
bool has_nonce(const Command& step) {
  return wire::Reader(step.parameters()).u16().value_or(0) != 0;
}

// Whether a PolicyPCR selects one of these PCRs. True for an unreadable selection.
bool selects_any(const Command& step, std::uint32_t pcrs) {
  wire::Reader in(step.parameters());  // pcrDigest, TPML_PCR_SELECTION: count, then hash, sizeofSelect, bits of each
  const auto digest = in.tpm2b();
  const auto count = in.u32();
  if (!digest || !count) return true;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto hash = in.u16();
    const auto size = in.u8();
    const auto bits = size ? in.take(*size) : std::nullopt;
    if (!hash || !bits) return true;
    for (std::size_t byte = 0; byte < bits->size() && byte < sizeof pcrs; ++byte)
      if (((*bits)[byte] & (pcrs >> (8 * byte))) != 0) return true;
  }
  return false;
}

}  // namespace

std::size_t PolicyLog::count(wire::CommandCode code) const {
  const auto out = std::count_if(steps.begin(), steps.end(), [code](const PolicyStep& s) { return s.code == code; });
  return static_cast<std::size_t>(out);
}

std::size_t PolicyLog::size() const {
  std::size_t out = sizeof(*this) + start.size() + digest.size();
  for (const PolicyStep& step : steps) out += step.size();
  return out;
}

void PolicyLog::clear() {
  if (passes(rebuildable) && !start.empty()) rebuildable = Rebuildable::kYes;
  password = auth_value = false;
  steps.clear();
  digest.clear();
  pcr_counter = 0;
  pcr_changed = false;
}

void PolicyLog::give_up(Rebuildable why) {
  rebuildable = why;
  start.clear();
}

bool PolicyLog::can_repeat(const Command& step, std::uint32_t uncounted_pcrs) const {
  if (step.first_parameter_encrypted()) return false;
  // The command needs no authorization and no nonce, only the policy's digest.
  if (trial && step.code() == cc::kPolicyAuthValue) return true;
  // An empty pcrDigest means the present PCR values, which a rebuild would read anew.
  if (trial && step.code() == cc::kPolicyPCR && wire::Reader(step.parameters()).u16().value_or(0) == 0) return false;
  if (!trial && step.code() == cc::kPolicyPCR && selects_any(step, uncounted_pcrs)) return false;
  const PolicyEffect effect = step.row().policy;
  return effect == PolicyEffect::kStep || (effect == PolicyEffect::kFreshStep && (trial || !has_nonce(step)));
}

bool PolicyLog::needs_nonce(const Command& step) const {
  if (trial) return false;
  const bool may_have_one = step.code() == cc::kPolicySigned || step.code() == cc::kPolicySecret;
  return step.code() == cc::kPolicyAuthValue || (may_have_one && has_nonce(step));
}

bool PolicyLog::is_plausible() const {
  if (size() > kMaxLogBytes + sizeof(*this) + kMaxSteps * sizeof(PolicyStep)) return false;
  if (digest.size() > kMaxDigest || steps.size() > kMaxSteps) return false;
  for (const PolicyStep& step : steps) {
    const wire::CommandRow* row = wire::CommandTable::builtin().find(step.code);
    if (row == nullptr || (row->policy != PolicyEffect::kStep && row->policy != PolicyEffect::kFreshStep &&
                           step.code != cc::kPolicyAuthValue))
      return false;
  }
  if (start.empty()) return rebuildable != Rebuildable::kYes;
  const auto command = Command::parse(start, wire::CommandTable::builtin(), kMaxLogBytes);
  if (!command || command->code() != cc::kStartAuthSession) return false;
  const PolicyLog started = log_of_start(*command);
  return started.can_be_made_again() && started.hash == hash && started.trial == trial;
}

PolicyLog log_of_start(const Command& start) {
  PolicyLog out;
  // nonceCaller, encryptedSalt, sessionType, symmetric, authHash.
  wire::Reader in(start.parameters());
  const auto nonce = in.tpm2b();
  const auto salt = in.tpm2b();
  const auto type = in.u8();
  const auto symmetric = in.u16();
  if (!nonce || !salt || !type || !symmetric) return out;
  if (!in.take(size_after_algorithm(*symmetric))) return out;
  const auto hash = in.u16();
  if (!hash) return out;
  out.hash = *hash;
  out.decrypts = *symmetric != kAlgNull;
  out.trial = *type == kTrial;
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

PolicyStep step_of(const Command& step, wire::ByteView key_context, wire::TpmHandle key) {
  PolicyStep out;
  out.code = step.code();
  out.parameters = wire::to_bytes(step.parameters());
  out.key_context = wire::to_bytes(key_context);
  if (step.handle_count() > 1 && key_context.empty()) out.key = key.value;
  return out;
}

}  // namespace tpmspace::space
