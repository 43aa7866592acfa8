// How a policy session was started and the policy commands since: the manager rebuilds the parked session from this
// log.
//
// Idea: a session that was started without a secret (no salt, no bind entity) is rebuilt by the same StartAuthSession
// and the same policy steps, if each step has the same result when the manager repeats it. PolicyRestart and every
// successful use reset the policy and clear the steps.
//
// Threads: values.
// Limits: `kMaxSteps`, `kMaxSlowSteps`, `kMaxLogBytes` per session; a session beyond a limit is an ordinary session
// until its policy is reset.
// Source: docs/tpm-behaviour.md 22, 28; Part 3, 11.1 and 23.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/session_terms.h"

namespace tpmspace::space {

inline constexpr std::size_t kMaxSteps = 32;
inline constexpr std::size_t kMaxSlowSteps = 4;  // PolicySigned: one public-key operation per step
inline constexpr std::size_t kMaxLogBytes = 16 << 10;

using wire::Rebuildable;

// Whether a reset of the policy ends the reason.
[[nodiscard]] constexpr bool passes(Rebuildable why) {
  return why == Rebuildable::kStep || why == Rebuildable::kFull;
}

struct PolicyStep {
  wire::CommandCode code = 0;
  wire::Bytes parameters;
  // The key of a PolicySigned: the saved context of a transient object, otherwise the TPM's handle.
  wire::Bytes key_context;
  std::uint32_t key = 0;

  [[nodiscard]] std::size_t size() const { return sizeof(*this) + parameters.size() + key_context.size(); }
  bool operator==(const PolicyStep&) const = default;
};

struct PolicyLog {
  Rebuildable rebuildable = Rebuildable::kNotPolicy;
  wire::Bytes start;        // the client's StartAuthSession; empty for a session that can never be rebuilt
  bool trial = false;       // a trial session never authorizes
  std::uint16_t hash = 0;   // TPM_ALG_ID
  bool decrypts = false;    // started with a symmetric algorithm, so the client may encrypt parameters
  bool password = false;    // PolicyPassword: the HMAC field of each use is a password
  bool auth_value = false;  // PolicyAuthValue or PolicyPassword: each use tries the authValue of the authorized entity
  std::vector<PolicyStep> steps;
  // Of a session that has left the TPM:
  wire::Bytes digest;  // policyDigest at that time; empty: no steps, or the session was lost before the digest was read
  std::uint32_t pcr_counter = 0;  // the chip's at that time, if the log has a PolicyPCR
  bool pcr_changed = false;       // a PCR has changed since the session's PolicyPCR

  [[nodiscard]] bool can_be_made_again() const { return rebuildable == Rebuildable::kYes; }
  [[nodiscard]] std::size_t count(wire::CommandCode code) const;
  [[nodiscard]] bool has(wire::CommandCode code) const { return count(code) > 0; }
  [[nodiscard]] std::size_t size() const;
  // Whether the manager could repeat this step in a rebuild. `uncounted_pcrs`: from Chip. If such a PCR changes, a
  // session in the TPM stays valid because the counter does not move, but a rebuilt session would get another policy.
  [[nodiscard]] bool can_repeat(const wire::Command& step, std::uint32_t uncounted_pcrs) const;
  // Whether the step depends on a nonce that the client may not have.
  [[nodiscard]] bool needs_nonce(const wire::Command& step) const;
  // Resets the policy: after PolicyRestart or a successful use.
  void clear();
  // Marks the session as never rebuildable.
  void give_up(Rebuildable why);
  // For images from an untrusted source: whether the manager could have made this log.
  [[nodiscard]] bool is_plausible() const;
  bool operator==(const PolicyLog&) const = default;
};

// The log of a session that this StartAuthSession starts.
[[nodiscard]] PolicyLog log_of_start(const wire::Command& start);

// The handle in the command of the session whose policy the command changes. Nullopt: none.
[[nodiscard]] std::optional<wire::ClientHandle> policy_session_of(const wire::Command& command);
// For a step that can be repeated. For a PolicySigned, `key_context` holds a transient key, `key` any other key.
[[nodiscard]] PolicyStep step_of(const wire::Command& step, wire::ByteView key_context, wire::TpmHandle key);

}  // namespace tpmspace::space
