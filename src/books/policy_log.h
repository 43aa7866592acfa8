// What a policy session was started with and what was done to its policy since: how it can be made again after it has
// left the TPM.
//
// Idea: a session that was started without a secret (no salt, no bind entity) is made again by the same
// StartAuthSession and the same policy steps, as long as each of them has the same result when the manager does it.
// PolicyRestart and every successful use set the policy back, and the steps with it.
//
// Threads: values.
// Limits: `kMaxSteps`, `kMaxSlowSteps`, `kMaxLogBytes` a session; beyond them it is an ordinary one until the policy is
// set back.
// Source: TPM-RULES 22, 28; Part 3, 11.1 and 23.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "wire/bytes.h"
#include "wire/command.h"

namespace tpmspace::space {

inline constexpr std::size_t kMaxSteps = 32;
inline constexpr std::size_t kMaxSlowSteps = 4;  // PolicySigned: a public-key operation each
inline constexpr std::size_t kMaxLogBytes = 16 << 10;

// Whether a session can be made again, and if not, why.
enum class Rebuildable : std::uint8_t {
  kYes = 0,
  kNotPolicy = 1,  // an HMAC session: what it was started with cannot be had twice
  kSecret = 2,     // salted, bound, or started under another session
  kHash = 3,       // its hash is none that we can compute
  kReserved = 4,   // it may not be moved
  kStep = 5,       // one of its policy's steps cannot be done for its client; until the policy is set back
  kFull = 6,       // there is no room for its log; likewise, if it was for a step
};

// Whether it is so only until the policy is set back.
[[nodiscard]] constexpr bool passes(Rebuildable why) {
  return why == Rebuildable::kStep || why == Rebuildable::kFull;
}

struct PolicyStep {
  wire::CommandCode code = 0;
  wire::Bytes parameters;
  // PolicySigned's key: a transient object as the TPM saved it, or else its handle, which is the TPM's.
  wire::Bytes key_context;
  std::uint32_t key = 0;

  [[nodiscard]] std::size_t size() const { return sizeof(*this) + parameters.size() + key_context.size(); }
  bool operator==(const PolicyStep&) const = default;
};

struct PolicyLog {
  Rebuildable rebuildable = Rebuildable::kNotPolicy;
  wire::Bytes start;        // the client's StartAuthSession; empty unless it can ever be made again
  bool trial = false;       // its policy is not judged
  std::uint16_t hash = 0;   // TPM_ALG_ID
  bool decrypts = false;    // it was started with a symmetric algorithm, so its client may encrypt parameters
  bool password = false;    // PolicyPassword: the HMAC field of its uses is a password
  bool auth_value = false;  // PolicyAuthValue or PolicyPassword: its uses try the authValue of what they authorize
  std::vector<PolicyStep> steps;
  // Of one that has left the TPM:
  wire::Bytes digest;             // its policyDigest then; empty: no steps, or it was lost before it was asked
  std::uint32_t pcr_counter = 0;  // the chip's then, if the log has a PolicyPCR
  bool pcr_changed = false;       // a PCR has changed since its PolicyPCR

  [[nodiscard]] bool can_be_made_again() const { return rebuildable == Rebuildable::kYes; }
  [[nodiscard]] std::size_t count(wire::CommandCode code) const;
  [[nodiscard]] bool has(wire::CommandCode code) const { return count(code) > 0; }
  [[nodiscard]] std::size_t size() const;
  // Whether the manager could do this step for the client, should the session have to be made again.
  // `uncounted_pcrs`: Chip has them. A PCR that changes without moving the counter leaves a session in the TPM as it
  // is, but what is made again would have another policy.
  [[nodiscard]] bool can_repeat(const wire::Command& step, std::uint32_t uncounted_pcrs) const;
  // Whether that step depends on a nonce that its client may not have.
  [[nodiscard]] bool needs_nonce(const wire::Command& step) const;
  // The policy is set back: PolicyRestart, or a successful use.
  void clear();
  // It can never be made again.
  void give_up(Rebuildable why);
  // For images that nobody vouches for: it is one that we could have made.
  [[nodiscard]] bool is_plausible() const;
  bool operator==(const PolicyLog&) const = default;
};

// The log of the session that this StartAuthSession started, or asks for.
[[nodiscard]] PolicyLog log_of_start(const wire::Command& start);

// The session whose policy this command changes: its handle in the command. Nullopt: none.
[[nodiscard]] std::optional<wire::ClientHandle> policy_session_of(const wire::Command& command);
// Precondition: it can be repeated. The key of a PolicySigned that is a transient object has `key_context`, another one
// is `key`.
[[nodiscard]] PolicyStep step_of(const wire::Command& step, wire::ByteView key_context, wire::TpmHandle key);

}  // namespace tpmspace::space
