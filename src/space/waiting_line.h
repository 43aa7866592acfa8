// The line of those that wait for a session: whose turn it is, and for whom one is taken.
//
// Idea: whoever may have a session now (the bank admits it) may pass one who may not; strict order would deadlock the
// banker. Before all others go owners that are not above their fair share; then spaces that hold sessions already and
// are within their claim (they finish and give back), and whoever has waited for half of its deadline; then newcomers,
// whose owners take turns, so that a thousand connections of one owner are one waiter; last what lies beyond a claim.
// But nobody passes an owner who has waited for his tenure and holds no more, unless he has waited so long himself:
// what a hoarder loses does not go back to him. An owner has one clock for all his connections, and it starts again
// with every session that he gets. Threads: with the engine. Units: nanoseconds of the manager's clock. Limits: its
// owner bounds it. Source: DESIGN, "Sessions".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "space/reclaim.h"
#include "space/session_book.h"

namespace tpmspace::space {

class WaitingLine {
 public:
  using Id = std::uint64_t;

  struct Guest {
    Id id = 0;
    Waiter waiter;
    std::uint64_t deadline = 0;
    bool may_take = false;  // Exhaustion::kReclaim
  };

  // Its waiter's `since` is when it came.
  void add(const Guest& guest);
  // False: it is not in the line.
  bool remove(Id id);
  [[nodiscard]] bool empty() const { return guests_.empty(); }
  [[nodiscard]] std::size_t size() const { return guests_.size(); }
  // By arrival.
  [[nodiscard]] const std::vector<Guest>& guests() const { return guests_; }

  // When it came. Precondition: it is in the line.
  [[nodiscard]] std::uint64_t since(Id id) const;
  // One whose deadline has passed.
  [[nodiscard]] std::optional<Id> expired(std::uint64_t now) const;
  // One that may have a session now. Whoever is served is removed with `served`.
  [[nodiscard]] std::optional<Id> next(const Books& books, const Chip& chip, const SessionBook& book,
                                       std::uint64_t now) const;
  void served(Id id, std::uint64_t now);
  // The session that is to be taken now for somebody in the line, or when to look again (deadlines included).
  [[nodiscard]] Taking taking(const Books& books, const Chip& chip, std::uint64_t now) const;

 private:
  [[nodiscard]] std::vector<Waiter> waiters(const Guest& first) const;
  // Whether its owner has waited for the tenure.
  [[nodiscard]] bool tenured(const Books& books, const Guest& guest, std::uint64_t now) const;
  void forget_clock_of(OwnerId owner);
  // The first one of each owner: nobody gains by waiting more than once.
  [[nodiscard]] std::vector<const Guest*> one_of_each_owner() const;

  static constexpr std::size_t kMostTurns = 4096;

  std::vector<Guest> guests_;                   // by arrival
  std::map<OwnerId, std::uint64_t> clocks_;     // of those that wait: since when, or since they were served last
  std::map<OwnerId, std::uint64_t> last_turn_;  // of those that were served while others waited
  std::uint64_t turns_ = 0;
};

}  // namespace tpmspace::space
