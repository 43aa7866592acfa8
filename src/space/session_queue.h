// The queue of commands that wait for a session: whose turn it is, and for whom one is taken.
//
// Idea: a command that may have a session now (the bank admits it) may pass one that may not; strict order would
// deadlock the banker. Before all others go owners that are not above their fair share; then spaces that hold sessions
// already and are within their claim (they finish and give back), and newcomers that have waited for half of their
// deadline; then other newcomers, whose owners take turns, so that a thousand connections of one owner are one waiter;
// last what lies beyond a claim. But nobody passes an owner who has waited for its tenure and holds no more, unless it
// has waited so long itself: what a hoarder loses does not go back to it. An owner has one clock for all its
// connections, and it starts again with every session that it gets. Its tenure is that of its first command here.
//
// How many wait costs nothing: the owners that hold sessions are at most as many as the chip has, and each is looked at
// by itself; of all others the first ones by their turn are (space/wait_queue.h).
// Threads: with the engine. Units: nanoseconds of the manager's clock. Limits: its owner bounds it. Source: DESIGN,
// "Sessions".
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "space/reclaim.h"
#include "space/session_book.h"
#include "space/wait_queue.h"

namespace tpmspace::space {

class SessionQueue {
 public:
  using Id = WaitQueue::Id;

  struct Guest {
    Id id = 0;
    Waiter waiter;
    std::uint64_t deadline = 0;
    bool may_take = false;  // Exhaustion::kReclaim
    std::uint32_t claim = SessionTerms{}.claim;
    std::uint64_t tenure = SessionTerms{}.tenure;
  };

  // Its waiter's `since` is when it came, after all others.
  void add(const Guest& guest);
  // False: it is not in the queue.
  bool remove(Id id) { return queue_.remove(id); }
  // On these terms from now on, if it is in the queue. Its deadline stays.
  void set_terms(Id id, const SessionTerms& terms);
  [[nodiscard]] bool empty() const { return queue_.empty(); }
  [[nodiscard]] std::size_t size() const { return queue_.size(); }
  [[nodiscard]] const WaitQueue& queue() const { return queue_; }

  // One whose deadline has passed; owners take turns.
  [[nodiscard]] std::optional<Id> expired(std::uint64_t now);
  // One that may have a session now. Whoever is served is removed with `served`.
  [[nodiscard]] std::optional<Id> next(const Books& books, const Chip& chip, const SessionBook& book,
                                       std::uint64_t now);
  void served(Id id, std::uint64_t now) { queue_.served(id, now); }
  // An owner above its share that a place is kept for; nullopt: there is none.
  [[nodiscard]] std::optional<OwnerId> keeps_too_many(const Books& books, const Chip& chip) const;
  // The session that is to be taken now for somebody in the queue, or when to look again (deadlines included).
  [[nodiscard]] Taking taking(const Books& books, const Chip& chip, std::uint64_t now);

  // Heads that were looked at since the beginning: what a test holds against the number of those that wait.
  [[nodiscard]] std::uint64_t looked_at() const { return looked_at_; }

 private:
  class Choice;  // one look for the next

  [[nodiscard]] std::uint32_t claim_of_first() const;
  [[nodiscard]] std::size_t owners_without(const OrdinarySessions& there) const;

  WaitQueue queue_;
  std::uint64_t looked_at_ = 0;
};

}  // namespace tpmspace::space
