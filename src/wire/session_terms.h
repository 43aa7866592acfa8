// Sessions in words that several rooms share: kinds, the terms on which a client has sessions, and whether a session
// can be rebuilt. Threads: values. Units: sessions, nanoseconds. Source: Part 2, 6.11 (TPM_SE); docs/sessions.md.
#pragma once

#include <cstdint>

namespace tpmspace::wire {

enum class SessionKind : std::uint8_t { kHmac = 0, kPolicy = 1, kTrial = 3 };  // TPM_SE

// The reaction if a client wants a session and none is available now (docs/sessions.md); the least demanding first.
enum class Exhaustion : std::uint8_t {
  kRefuse,   // SESSION_HANDLES at once
  kClose,    // at the deadline the space loses everything and answers SESSION_HANDLES until closed
  kWait,     // until a session is available, at most until the deadline; no session is reclaimed
  kReclaim,  // the same, and sessions are reclaimed from owners that have too many or leave sessions idle
};

// The terms on which a client has sessions.
struct SessionTerms {
  static constexpr std::uint64_t kSecond = 1'000'000'000;
  static constexpr std::uint64_t kEndless = UINT64_MAX;

  std::uint32_t claim = 3;             // the most sessions needed at once by any task: as many as one command can use
  std::uint64_t lease = 10 * kSecond;  // after this idle time a session may be reclaimed if another client waits
  std::uint64_t tenure =
      10 * kSecond;  // after this wait of another owner, an owner above its fair share loses a session
  std::uint64_t deadline = 30 * kSecond;  // the longest wait of a client for a session
  Exhaustion exhaustion = Exhaustion::kReclaim;

  bool operator==(const SessionTerms&) const = default;
};

// Whether a session can leave the TPM when its number is needed, and be rebuilt; if not, why. The values are those of
// the protocol and of images.
enum class Rebuildable : std::uint8_t {
  kYes = 0,
  kNotPolicy = 1,  // an HMAC session: its start cannot be repeated
  kSecret = 2,     // salted, bound, or started under another session
  kHash = 3,       // a hash that the manager cannot compute
  kReserved = 4,   // a reserved session
  kStep = 5,       // the manager cannot repeat a policy step; ends when the policy is reset
  kFull = 6,       // no room for the log; ends when the policy is reset, if a step needed the room
};

}  // namespace tpmspace::wire
