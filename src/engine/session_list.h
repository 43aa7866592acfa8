// Every session that clients have, in the TPM or parked, and every client that waits for a session, as a value for
// reports.
//
// Idea: no command needs the list, so it is made on request, and the requester pays.
// Threads: a value. Units: nanoseconds of the engine's clock.
// Limits: the first kMaxParked parked sessions and the first kMaxWaiting waiting commands are named, the others
// counted. The cost is bounded by these two and the chip; for one holder also by the number of its owner's spaces,
// files and waiting commands.
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
  kSaved,        // by tpmspace, until the next use
  kClientSaved,  // by its client, which has the context
  kAbandoned,    // the same, and the connection is closed
  kParked,       // has left the TPM until the next use
};

struct SessionView {
  std::uint32_t handle = 0;  // the TPM's; the client's for a parked session
  space::SessionKind kind = space::SessionKind::kHmac;
  SessionState state = SessionState::kLoaded;
  space::Holder holder;
  std::uint64_t connection = 0;  // 0: none
  std::uint64_t started_at = 0, used_at = 0;
  std::uint64_t lease = 0;  // a span; SessionTerms::kEndless
  space::Rebuildable rebuildable = space::Rebuildable::kNotPolicy;
  bool parked = false;  // also true for a parked session that the client saved

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

  std::vector<SessionView> sessions;  // by number; then the parked sessions
  std::uint32_t more_parked = 0;      // not named
  std::vector<WaitingView> waiting;   // by arrival
  std::uint32_t more_waiting = 0;     // not named
  // In a list for one holder: the number of other holders' entries.
  std::uint32_t hidden_sessions = 0, hidden_waiting = 0;

  bool operator==(const SessionList&) const = default;
};

// A request for the list: the whole list, or the part that `only` may know.
struct SessionsQuery {
  std::uint64_t id = 0;  // comes back in SessionsAnswer
  space::OwnerId payer;  // the owner whose turn in the queue the request takes
  std::uint8_t priority = 1;
  std::optional<space::Holder> only;
};
struct SessionsAnswer {
  std::uint64_t id = 0;
  SessionList list;
};

// Orders of an administrator. The first three select sessions to take away.
struct TheseSessions {
  std::vector<std::uint32_t> handles;  // of sessions in the TPM; type bytes may be wrong
};
struct AbandonedSessions {};
struct SessionsOf {
  std::vector<space::Holder> holders;
};
// Keeps a session in the TPM loaded under its number, with an exclusive place (the kernel's trusted keys use
// handed-over sessions), or ends the reservation.
struct ReserveSession {
  std::uint32_t handle = 0;
  bool reserved = false;
};
using SessionOrder = std::variant<TheseSessions, AbandonedSessions, SessionsOf, ReserveSession>;

[[nodiscard]] SessionView view_of(const space::Session& session, bool parked = false);
// Whether the order takes the session away.
[[nodiscard]] bool selects(const SessionOrder& order, const SessionView& session);

}  // namespace tpmspace::engine
