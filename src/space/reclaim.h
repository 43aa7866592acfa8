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
  std::uint64_t since = 0;  // when its owner began to wait, or was served last: one clock for all his connections
};

struct Taking {
  std::optional<std::uint32_t> number;  // take this session now
  wire::Taker by;                       // for that reason
  std::optional<std::uint64_t> at;      // or look again then; neither: nothing will ever be due by itself
};

// The sessions that were given by the bank and may be taken back, and the places that are kept for owners, added up.
struct OrdinarySessions {
  explicit OrdinarySessions(const Books& books);

  struct OfSpace {
    std::uint32_t held = 0;
    std::uint64_t served_at = 0;  // when one that it had waited for was given to it
  };
  std::map<SpaceId, OfSpace> by_space;        // under 0 those that nobody has any more
  std::map<OwnerId, std::uint32_t> by_owner;  // with the places that are kept for it
  std::uint32_t reserved = 0;                 // not among them

  [[nodiscard]] std::uint32_t of(SpaceId space) const;
  [[nodiscard]] std::uint32_t of(OwnerId owner) const;
};

// How many sessions each owner has, against the fair share. Precondition: `there` outlives it.
class FairShares {
 public:
  // `claim`: of the space that waits. `others`: owners that hold none and wait.
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

// For that space. Precondition: it is open.
[[nodiscard]] Taking session_to_take(const Books& books, const FairShares& shares, const Waiter& waiter,
                                     std::uint64_t now);

// What is told of a session that is taken.
[[nodiscard]] wire::Reclaimed taken(const Session& session, const wire::Taker& by);

// Which numbers go, of those that nobody holds any more, so that all pools of a space have room for one more session of
// it; empty: they have. Nullopt: there are not enough of them, or the space's terms are not to take any from anybody;
// so nothing is to be taken.
[[nodiscard]] std::optional<std::vector<std::uint32_t>> left_behind_to_take(const Books& books, SpaceId space,
                                                                            std::uint64_t now);

}  // namespace tpmspace::space
