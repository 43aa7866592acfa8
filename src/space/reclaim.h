// Which session is reclaimed for a waiting client, and when.
//
// Idea: these rules are about ordinary sessions: rebuildable sessions can be parked (space/parking.h), and reserved
// sessions stay. An owner's fair share is the number of the chip's sessions, minus the sessions kept free by the bank
// (sessions for rebuilding, and a claim less one), divided by the number of owners with sessions or waiting commands.
// While an owner is above its share, only owners above their share lose sessions. A session idle past its lease goes at
// once. When another owner with fewer sessions has waited for the tenure, one session goes even if in use (touching
// sessions every second does not help a hoarder). While no owner is above its share, only sessions idle past their
// lease may be reclaimed, from any owner, the waiting owner's other spaces included. A session is also safe for a
// tenure if its owner had to wait for the session: otherwise two waiting owners would take from each other at once. The
// order among reclaimable sessions: first sessions without a space (client-saved, connection closed); then sessions
// beyond their space's claim; then the least recently used. If an outside authority took part in a session's policy
// (PolicySigned, PolicySecret, PolicyTicket), the session goes last. The waiting space itself never loses a session.
// A full pool (space/pools.h) is another matter: a client never waits for another client of its pool. But sessions
// without a space do not keep the pool full for ever: a session whose lease is over may be reclaimed, in the same
// order, for any space of the pool. Until then the session is kept for a client with the session's context, with an
// endless lease for ever.
// Threads: pure functions of the books. Units: nanoseconds of the manager's clock.
// Source: tests/models/admission.pml shows that no owner starves by these rules, and which rules are necessary. (The
// model leaves out pools, and the tenure after a wait, a rule for progress and not against starving.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "wire/tpm_use.h"

namespace tpmspace::space {

// A space that waits for a session.
struct Waiter {
  SpaceId space;
  OwnerId owner;
  // When the owner began to wait or was last served: one clock for all connections of the owner.
  std::uint64_t since = 0;
};

struct Taking {
  std::optional<std::uint32_t> number;  // reclaim this session now
  wire::Taker by;                       // the reason
  std::optional<std::uint64_t> at;      // or look again at this time; neither: no session will become due
};

// The sums of sessions that the bank gave and may reclaim, and of kept places.
struct OrdinarySessions {
  explicit OrdinarySessions(const Books& books);

  struct OfSpace {
    std::uint32_t held = 0;
    std::uint64_t served_at = 0;  // when the space last got a session after a wait
  };
  std::map<SpaceId, OfSpace> by_space;        // key 0: sessions without a space
  std::map<OwnerId, std::uint32_t> by_owner;  // kept places of the owner included
  std::uint32_t reserved = 0;                 // not in the sums above

  [[nodiscard]] std::uint32_t of(SpaceId space) const;
  [[nodiscard]] std::uint64_t served_at(SpaceId space) const;
  [[nodiscard]] std::uint32_t of(OwnerId owner) const;
};

// The sessions of each owner, compared with the fair share. Precondition: `there` outlives the object.
class FairShares {
 public:
  // `claim`: of the waiting space. `others`: the number of waiting owners without sessions.
  FairShares(const OrdinarySessions& there, const Chip& chip, std::uint32_t claim, std::size_t others);

  [[nodiscard]] const OrdinarySessions& there() const { return there_; }
  [[nodiscard]] bool is_above(OwnerId owner) const { return above(there_.of(owner)); }
  [[nodiscard]] bool anybody_is_above() const { return anybody_is_above_; }

 private:
  [[nodiscard]] bool above(std::uint32_t held) const;

  const OrdinarySessions& there_;
  std::uint64_t to_share_ = 0, owners_ = 0;
  bool anybody_is_above_ = false;
};

// The session to reclaim for the waiter. Precondition: the waiter's space is open.
[[nodiscard]] Taking session_to_take(const Books& books, const FairShares& shares, const Waiter& waiter,
                                     std::uint64_t now);

// The report of a reclaimed session.
[[nodiscard]] wire::Reclaimed taken(const Session& session, const wire::Taker& by);

// The numbers of sessions without a space to reclaim, for one more session in all pools of the space; empty: all have
// room. Nullopt: too few such sessions, or the space's terms forbid to reclaim; then no session is reclaimed.
[[nodiscard]] std::optional<std::vector<std::uint32_t>> left_behind_to_take(const Books& books, SpaceId space,
                                                                            std::uint64_t now);

}  // namespace tpmspace::space
