// Every session that clients have, in the TPM or parked, and who waits for one, as a value for those who look at it.
//
// Idea: nobody needs the list for a command, so it is made when somebody asks for it, and paid for by whoever asks.
// Threads: a value. Units: nanoseconds of the engine's clock. Limits: of the parked ones the first kMaxParked and of
// those that wait the first kMaxWaiting are named, the others are counted. To make it takes a number of steps that
// these two and the chip bound; for one holder also the number of its owner's spaces, its files and those that wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "books/books.h"
#include "books/owner.h"

namespace tpmspace::engine {

enum class SessionState : std::uint8_t {
  kLoaded,
  kSaved,        // by us: put away until it is used
  kClientSaved,  // by its client, which has the context
  kAbandoned,    // the same, and its connection is gone
  kParked,       // it has left the TPM until it is used
};

struct SessionView {
  std::uint32_t handle = 0;  // the TPM's; of one that is parked its client's
  space::SessionKind kind = space::SessionKind::kHmac;
  SessionState state = SessionState::kLoaded;
  space::Holder holder;
  std::uint64_t connection = 0;  // 0: it has none
  std::uint64_t started_at = 0, used_at = 0;
  std::uint64_t lease = 0;  // a span; SessionTerms::kEndless
  space::Rebuildable rebuildable = space::Rebuildable::kNotPolicy;
  bool parked = false;  // also of one that its client saved

  bool operator==(const SessionView&) const = default;
};

struct WaitingView {
  space::Holder holder;
  std::uint64_t connection = 0;
  std::uint64_t since = 0, deadline = 0;  // UINT64_MAX: none

  bool operator==(const WaitingView&) const = default;
};

struct SessionList {
  static constexpr std::size_t kMaxWaiting = 64;
  static constexpr std::size_t kMaxParked = 256;

  std::vector<SessionView> sessions;  // by number; then those that are parked
  std::uint32_t more_parked = 0;      // not named
  std::vector<WaitingView> waiting;   // by arrival
  std::uint32_t more_waiting = 0;     // not named
  // Of a list for one holder: what others have. Counted, not named.
  std::uint32_t hidden_sessions = 0, hidden_waiting = 0;

  bool operator==(const SessionList&) const = default;
};

// Somebody wants the list: the one for everything, or for what `only` may know.
struct SessionsQuery {
  std::uint64_t id = 0;  // comes back in SessionsAnswer
  space::OwnerId payer;  // in whose name it takes its turn in the queue
  std::uint8_t priority = 1;
  std::optional<space::Holder> only;
};
struct SessionsAnswer {
  std::uint64_t id = 0;
  SessionList list;
};

// What an administrator may order: that sessions are taken away,
struct TheseSessions {
  std::vector<std::uint32_t> handles;  // of sessions in the TPM; their type octets may be wrong
};
struct AbandonedSessions {};
struct SessionsOf {
  std::vector<space::Holder> holders;
};
// or that a session in the TPM stays loaded under its number, and its place is nobody else's (the kernel's trusted keys
// use sessions that were handed to it); or not any more.
struct ReserveSession {
  std::uint32_t handle = 0;
  bool reserved = false;
};
using SessionOrder = std::variant<TheseSessions, AbandonedSessions, SessionsOf, ReserveSession>;

[[nodiscard]] SessionView view_of(const space::Session& session, bool parked = false);
// Whether it is to be taken away.
[[nodiscard]] bool selects(const SessionOrder& order, const SessionView& session);

}  // namespace tpmspace::engine
