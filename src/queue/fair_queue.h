// Whose turn it is: fair between owners in TPM time used, first come first served within an owner.
//
// Idea: each owner has a clock of the TPM time it has used. The waiting owner whose clock is furthest behind is next;
// one of a higher priority goes first, but not more than kPassing times before whoever's turn it is. A weight is the
// caller's: what is charged for more than its share is charged less.
// An owner that comes back from idling starts at the present turn, so nobody saves up credit; one that opens a hundred
// connections still has one clock.
// Threads: with the engine. Units: `charge` in nanoseconds of TPM time; items are the caller's numbers.
// Limits: one entry for each waiting item and each owner that waits or is ahead of its turn.
// Source: start-time fair queueing (Goyal, Vin, Cheng: 1996), with one server and costs known after the fact.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>

namespace tpmspace::queue {

class FairQueue {
 public:
  using Owner = std::uint64_t;
  using Item = std::uint64_t;

  using Priority = std::uint8_t;  // higher goes first

  static constexpr unsigned kPassing = 7;

  void push(Owner owner, Item item, Priority priority = 1);
  // False: it does not wait.
  bool remove(Owner owner, Item item);
  // The next item and whose it is; nullopt: nobody waits.
  struct Turn {
    Owner owner = 0;
    Item item = 0;
  };
  std::optional<Turn> pop();
  // What the owner's turn cost, when it is known.
  void charge(Owner owner, std::uint64_t nanoseconds);

  [[nodiscard]] std::size_t size() const { return waiting_; }

 private:
  struct Line {
    std::uint64_t used = 0;  // the owner's clock
    std::uint64_t turn = 0;  // when it last had its turn: ties go to who waited longest
    std::deque<std::pair<Item, Priority>> items;
  };
  void forget_idle_owners();

  std::map<Owner, Line> lines_;
  std::uint64_t now_ = 0;  // the clock of the owner whose turn it was last
  std::uint64_t turns_ = 0;
  std::size_t waiting_ = 0;
  unsigned passed_ = 0;  // turns that priority took since fairness gave one
};

}  // namespace tpmspace::queue
