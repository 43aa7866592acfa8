// Whose session is taken while somebody waits for one, and when.
//
// Idea: whoever hoards takes from himself. An owner's fair share is the chip's sessions divided by the owners that hold
// some or wait. Only owners above their share lose sessions: those idle past their lease at once, and when another
// owner has waited for the tenure, one whether it is used or not (touching sessions every second does not help a
// hoarder). While nobody is above the share, only what is idle past its lease may be taken, whoever has it. Among what
// may be taken: what nobody holds any more (client-saved, connection gone), then what is beyond its space's claim, then
// least recently used; sessions for which an outside authority was asked (PolicySigned, PolicySecret, PolicyTicket)
// last. Never from the space that waits. Threads: pure functions of the books. Units: nanoseconds of the manager's
// clock. Source: DESIGN, "Sessions".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "space/books.h"
#include "space/chip.h"

namespace tpmspace::space {

// A space that waits for a session.
struct Waiter {
  SpaceId space;
  OwnerId owner;
  std::uint64_t since = 0;
};

struct Taking {
  std::optional<std::uint32_t> number;  // take this session now
  std::optional<std::uint64_t> at;      // or look again then; neither: nothing will ever be due by itself
};

// How many sessions each owner has and since when it waits, against the fair share.
class FairShares {
 public:
  FairShares(const Books& books, const Chip& chip, std::span<const Waiter> waiters);

  [[nodiscard]] bool is_above(OwnerId owner) const;
  [[nodiscard]] bool anybody_is_above() const;
  // Since when somebody else than this owner waits.
  [[nodiscard]] std::optional<std::uint64_t> others_wait_since(OwnerId owner) const;

 private:
  struct Party {
    std::uint32_t held = 0;
    std::optional<std::uint64_t> waits_since;
  };
  [[nodiscard]] bool above(const Party& party) const;

  std::uint32_t sessions_;
  std::map<OwnerId, Party> parties_;
};

// For `waiters.front()`; all waiters count as owners that want a share. Precondition: there is one.
[[nodiscard]] Taking session_to_take(const Books& books, const Chip& chip, std::span<const Waiter> waiters,
                                     std::uint64_t now);

}  // namespace tpmspace::space
