// The next turn: fair between owners by TPM time used, first come first served within an owner.
//
// Idea: each owner has a clock of the TPM time used. The waiting owner whose clock is furthest behind is next; an owner
// of a higher priority overtakes, but at most kPassing times in a row. Weights are the caller's task: an owner with a
// larger share is charged less.
// An owner that comes back from idling starts at the present turn, so no owner saves up credit; an owner with a hundred
// connections still has one clock.
// Every operation takes time logarithmic in the number of waiting items: waiting owners are kept in the order of their
// turns.
// Threads: with the engine. Units: `charge` in nanoseconds of TPM time; items are the caller's numbers, each at most
// once.
// Limits: one entry for each waiting item and each owner that waits or is ahead of its turn.
// Source: start-time fair queueing (Goyal, Vin, Cheng: 1996), with one server and costs known after the fact.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>

namespace tpmspace::queue {

class FairQueue {
 public:
  using Owner = std::uint64_t;
  using Item = std::uint64_t;

  using Priority = std::uint8_t;  // higher values go first

  static constexpr unsigned kPassing = 7;

  // An item waits at most once.
  void push(Owner owner, Item item, Priority priority = 1) { put(owner, item, priority, ++last_place_); }
  // Before all other items of its owner.
  void push_first(Owner owner, Item item, Priority priority = 1) { put(owner, item, priority, --first_place_); }
  // False: the item does not wait.
  bool remove(Owner owner, Item item);
  // The next item and its owner; nullopt: no item waits.
  struct Turn {
    Owner owner = 0;
    Item item = 0;
  };
  std::optional<Turn> pop();
  // The cost of the owner's turn, once known.
  void charge(Owner owner, std::uint64_t nanoseconds);

  [[nodiscard]] std::size_t size() const { return places_.size(); }
  // Owners that were looked at or moved since the start: a test compares the count with the number of waiting owners.
  [[nodiscard]] std::uint64_t looked_at() const { return looked_at_; }

 private:
  using Place = std::int64_t;  // within its owner's line
  struct Waiting {
    Item item = 0;
    Priority priority = 0;
  };
  struct Line {
    std::uint64_t used = 0;  // the owner's clock
    std::uint64_t turn = 0;  // when the owner last had a turn: ties go to the owner that waited longest
    std::map<Place, Waiting> items;
  };
  using Lines = std::map<Owner, Line>;
  using Rank = std::tuple<std::uint64_t, std::uint64_t, Owner>;  // clock, turn
  using Urgency = std::pair<unsigned, Rank>;                     // the lowest value goes first

  static Rank rank_of(Lines::const_reference line) { return {line.second.used, line.second.turn, line.first}; }
  static Urgency urgency_of(Lines::const_reference line);
  void put(Owner owner, Item item, Priority priority, Place place);
  // Around each change of a line: removes the line from the indices, and enters it again.
  void take_out(Lines::const_reference line);
  void file(Lines::const_reference line);
  void forget_idle_owners();

  Lines lines_;
  // Waiting owners, by fair turn and by priority.
  std::set<Rank> by_rank_;
  std::set<Urgency> by_urgency_;
  std::set<Rank> idle_;  // owners that do not wait
  std::unordered_map<Item, Place> places_;
  Place first_place_ = 0, last_place_ = 0;
  std::uint64_t now_ = 0;  // the clock of the owner that had the last turn
  std::uint64_t turns_ = 0;
  unsigned passed_ = 0;  // turns of higher priority since the last fair turn
  std::uint64_t looked_at_ = 0;
};

}  // namespace tpmspace::queue
