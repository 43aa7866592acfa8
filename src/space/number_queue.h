// The queue of commands that wait for a number: for a session that can be made again, so that it takes nothing from
// anybody and the bank is not asked (space/parking.h).
//
// Idea: a number can always be had, but somebody might notice; so they wait until nobody does, for a moment at most.
// That moment is over for all that want the same number when it is over for the one of them that came first; for those
// that want any number, when it is over for the first in the queue. Owners take turns: a thousand connections of one
// owner are one waiter. How many wait costs nothing: of each number that somebody waits for, the first one by its
// owner's turn is looked at (space/wait_queue.h), and a chip has few numbers.
// Threads: with the engine. Units: nanoseconds of the manager's clock. Limits: its owner bounds it.
#pragma once

#include <cstdint>
#include <optional>

#include "space/session_book.h"
#include "space/wait_queue.h"

namespace tpmspace::space {

class NumberQueue {
 public:
  using Id = WaitQueue::Id;

  struct Guest {
    Id id = 0;
    SpaceId space;
    OwnerId owner;
    std::uint64_t since = 0;
    std::uint64_t deadline = 0;
    std::optional<std::uint32_t> number;  // nullopt: any will do
  };

  // It came after all others.
  void add(const Guest& guest);
  // False: it is not in the queue.
  bool remove(Id id) { return queue_.remove(id); }
  [[nodiscard]] bool empty() const { return queue_.empty(); }
  [[nodiscard]] std::size_t size() const { return queue_.size(); }
  [[nodiscard]] const WaitQueue& queue() const { return queue_; }

  // One whose deadline has passed; owners take turns.
  [[nodiscard]] std::optional<Id> expired(std::uint64_t now);
  // One that may have a number now; whoever is served is removed with `served`.
  [[nodiscard]] std::optional<Id> next(const SessionBook& book, std::uint64_t now);
  void served(Id id, std::uint64_t now) { queue_.served(id, now); }
  // When there will be something to do if nothing else happens. Precondition: it is not empty.
  [[nodiscard]] std::uint64_t look_again(const SessionBook& book) const;

  // Heads that were looked at since the beginning: what a test holds against the number of those that wait.
  [[nodiscard]] std::uint64_t looked_at() const { return looked_at_; }

 private:
  [[nodiscard]] std::optional<std::uint64_t> due_at(const SessionBook& book, const WaitQueue::Kind& kind) const;

  WaitQueue queue_;
  std::uint64_t looked_at_ = 0;
};

}  // namespace tpmspace::space
