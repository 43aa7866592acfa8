// The queue of commands waiting for the number of a rebuildable session. A rebuildable session takes nothing from other
// clients, so the bank is not asked (space/parking.h).
//
// Idea: a number is always available, but another client might notice the parking of a session. So the command waits
// for a short, bounded time for a number missed by no client. Among commands for the same number, the wait of the first
// command counts; among commands for any number, the wait of the first in the queue. An owner below its fair share does
// not wait for an owner above. Owners take turns: a thousand
// connections of one owner count as one waiter. The cost does not depend on how many commands wait: for each wanted
// number only the first command by its owner's turn is looked at (space/wait_queue.h), and a chip has few numbers.
// Threads: with the engine. Units: nanoseconds of the manager's clock. Limits: set by the owner of the queue.
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
    std::optional<std::uint32_t> number;  // nullopt: any number
  };

  // Adds a guest that came after all others.
  void add(const Guest& guest);
  // False: the guest is not in the queue.
  bool remove(Id id) { return queue_.remove(id); }
  [[nodiscard]] bool empty() const { return queue_.empty(); }
  [[nodiscard]] std::size_t size() const { return queue_.size(); }
  [[nodiscard]] const WaitQueue& queue() const { return queue_; }

  // A guest whose deadline has passed; owners take turns.
  [[nodiscard]] std::optional<Id> expired(std::uint64_t now);
  // A guest that may have a number now. After the command was executed, `served` removes the guest.
  [[nodiscard]] std::optional<Id> next(const SessionBook& book, std::uint64_t now);
  void served(Id id, std::uint64_t now) { queue_.served(id, now); }
  // When the queue needs the next look if no other event happens. UINT64_MAX: never.
  [[nodiscard]] std::uint64_t look_again(const SessionBook& book) const;

  // Heads that were looked at since the start: a test compares the count with the number of guests.
  [[nodiscard]] std::uint64_t looked_at() const { return looked_at_; }

 private:
  using Heads = WaitQueue::Shelves::value_type;
  // When the first head of the shelf may have its number.
  [[nodiscard]] std::optional<std::uint64_t> due_at(const SessionBook& book, const Heads& heads) const;

  WaitQueue queue_;
  std::uint64_t looked_at_ = 0;
};

}  // namespace tpmspace::space
