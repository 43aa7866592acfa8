// The queue of commands waiting for a session: the next turn, and the reclaiming for waiting commands.
//
// Idea: a command admitted by the bank overtakes the others; a strict order would deadlock the banker. Owners within
// their fair share come before owners above. Among these the order is: first spaces with sessions and within their
// claim (such a space finishes and gives back), and newcomers after half of their deadline; then other newcomers, whose
// owners take turns, so a thousand connections of one owner count as one waiter; last, requests beyond a claim. After a
// wait of its tenure, an owner is overtaken only by owners with fewer sessions and by owners with the same wait: a
// hoarder does not get back a lost session. An owner has one clock for all its connections; the clock restarts with
// every new session of the owner. The owner's first command in the queue sets the tenure.
//
// The cost does not depend on the number of waiting commands: at most as many owners hold sessions as the chip has
// sessions, and each of these owners is looked at. Of all other owners, only the first by turn are looked at
// (space/wait_queue.h).
// Threads: with the engine. Units: nanoseconds of the manager's clock. Limits: set by the owner of the queue.
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

  // Adds a guest that came after all others, at its waiter's `since`.
  void add(const Guest& guest);
  // False: the guest is not in the queue.
  bool remove(Id id) { return queue_.remove(id); }
  // New terms for a guest, if it is in the queue. The deadline stays.
  void set_terms(Id id, const SessionTerms& terms);
  [[nodiscard]] bool empty() const { return queue_.empty(); }
  [[nodiscard]] std::size_t size() const { return queue_.size(); }
  [[nodiscard]] const WaitQueue& queue() const { return queue_; }

  // A guest whose deadline has passed; owners take turns.
  [[nodiscard]] std::optional<Id> expired(std::uint64_t now);
  // A guest that may have a session now. After the command was executed, `served` removes the guest.
  [[nodiscard]] std::optional<Id> next(const Books& books, const Chip& chip, const SessionBook& book,
                                       std::uint64_t now);
  void served(Id id, std::uint64_t now) { queue_.served(id, now); }
  // An owner above its share that has a kept place; nullopt: none.
  [[nodiscard]] std::optional<OwnerId> keeps_too_many(const Books& books, const Chip& chip) const;
  // The session to reclaim now for a guest, or when to look again (deadlines included).
  [[nodiscard]] Taking taking(const Books& books, const Chip& chip, std::uint64_t now);

  // Heads that were looked at since the start: a test compares the count with the number of guests.
  [[nodiscard]] std::uint64_t looked_at() const { return looked_at_; }

 private:
  class Choice;  // one search for the next guest

  [[nodiscard]] std::uint32_t claim_of_first() const;
  [[nodiscard]] std::size_t owners_without(const OrdinarySessions& there) const;

  WaitQueue queue_;
  std::uint64_t looked_at_ = 0;
};

}  // namespace tpmspace::space
