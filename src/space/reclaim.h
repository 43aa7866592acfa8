// Whose session is taken while somebody waits for one, and when.
//
// Idea: whoever hoards takes from himself. Sessions that can be made again are nobody's hoard (space/parking.h), and
// reserved ones stay; this is about the others. An owner's fair share is what the chip has, less what the banker must
// keep free (what is kept for rebuilding, and a claim less one), divided by the owners that hold some or wait. Only
// owners above their share lose sessions: those idle past their lease at once; and when another owner, who holds less,
// has waited for the tenure, one whether it is used or not (touching sessions every second does not help a hoarder).
// While nobody is above the share, only what is idle past its lease may be taken, whoever has it, the waiting owner's
// own other spaces included. What somebody had to wait for is his for a tenure as well: else two who both waited would
// take from each other at once. Among what may be taken: what nobody holds any more (client-saved, connection gone),
// then what is beyond its space's claim, then least recently used; sessions for which an outside authority was asked
// (PolicySigned, PolicySecret, PolicyTicket) last. Never from the space that waits.
// A full pool (space/pools.h) is another matter: nobody waits for a neighbour in it. But what nobody holds any more
// does not keep it full for ever: as soon as its lease is over it goes, in the same order, for whoever of the pool
// wants one. Until then it is promised to who comes back with its context, and one whose lease is endless always is.
// Threads: pure functions of the books. Units: nanoseconds of the manager's clock. Source: DESIGN, "Sessions";
// tests/models/admission.pml shows that nobody starves by these rules, and which of them cannot be left out (the tenure
// of what was waited for is not in it: it is for work to get done, not against starving; nor are pools).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "space/books.h"
#include "space/chip.h"
#include "wire/tpm_use.h"

namespace tpmspace::space {

// A space that waits for a session.
struct Waiter {
  SpaceId space;
  OwnerId owner;
  std::uint64_t since = 0;  // when its owner began to wait, or was served last: one clock for all his connections
};

struct Taking {
  std::optional<std::uint32_t> number;  // take this session now
  wire::Taker by;                       // for that reason
  std::optional<std::uint64_t> at;      // or look again then; neither: nothing will ever be due by itself
};

// How many sessions each owner has, against the fair share.
class FairShares {
 public:
  // `claim`: of whoever waits.
  FairShares(const Books& books, const Chip& chip, std::span<const Waiter> waiters, std::uint32_t claim);

  [[nodiscard]] std::uint32_t held(OwnerId owner) const;
  [[nodiscard]] bool is_above(OwnerId owner) const { return above(held(owner)); }
  [[nodiscard]] bool anybody_is_above() const;

 private:
  [[nodiscard]] bool above(std::uint32_t held) const;

  std::uint32_t to_share_;
  std::map<OwnerId, std::uint32_t> held_;  // of all that hold or wait
};

// For `waiters.front()`; all waiters count as owners that want a share. Precondition: there is one, its space is open.
[[nodiscard]] Taking session_to_take(const Books& books, const Chip& chip, std::span<const Waiter> waiters,
                                     std::uint64_t now);

// What is told of a session that is taken.
[[nodiscard]] wire::Reclaimed taken(const Session& session, const wire::Taker& by);

// Which numbers go, of those that nobody holds any more, so that all pools of a space have room for one more session of
// it; empty: they have. Nullopt: there are not enough of them, or the space's terms are not to take any from anybody;
// so nothing is to be taken.
[[nodiscard]] std::optional<std::vector<std::uint32_t>> left_behind_to_take(const Books& books, SpaceId space,
                                                                            std::uint64_t now);

}  // namespace tpmspace::space
