// Commands waiting for a session or for a number, by owner. SessionQueue and NumberQueue choose from this queue.
//
// Idea: commands of one owner with the same request are of one *kind*, and are served by arrival. So only the first
// command of each owner and kind, its *head*, has to be looked at, however many wait. Heads stand on shelves: all heads
// of a shelf have the same kind and the same effects of time. On a shelf, heads stand in the order of their owners'
// turns: the owner whose last turn is longest ago comes first.
// Time changes a head at most twice (it ages, and its owner's tenure ends), and ends a wait at the deadline. `advance`
// finds due changes in an index by time. Owners whose deadlines have passed also take turns, so thousands of expired
// commands do not delay the responses of other owners.
// Every operation takes time logarithmic in the number of waiting commands; `advance` takes as much for each due
// change.
// Threads: with the engine. Units: nanoseconds of the manager's clock.
// Limits: the owner of the queue bounds its length; the last turns of kMostTurns owners are known.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "books/owner.h"

namespace tpmspace::space {

class WaitQueue {
 public:
  using Id = std::uint64_t;
  using Arrival = std::uint64_t;  // the order of arrival

  static constexpr std::uint64_t kNever = UINT64_MAX;
  static constexpr std::size_t kMostTurns = 4096;

  // What a command requests. The longest wait is part of the kind, so commands of one kind age by arrival.
  struct Kind {
    std::uint64_t what = 0;
    std::uint64_t patience = kNever;
    auto operator<=>(const Kind&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  struct Guest {
    Id id = 0;
    SpaceId space;
    OwnerId owner;
    std::uint64_t since = 0;
    std::uint64_t deadline = kNever;
    Kind kind;
    std::uint64_t tenure = kNever;  // a span
    bool may_take = false;
  };

  // The common properties of the heads on a shelf.
  struct Shelf {
    Kind kind;
    bool tenured = false;                            // the owner has waited for its tenure
    bool aged = false;                               // the head has waited for half of its patience
    auto operator<=>(const Shelf&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  struct Head {
    std::uint64_t turn = 0;  // the owner's last turn; 0: none
    Arrival arrival = 0;
    OwnerId owner;
    auto operator<=>(const Head&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  using Shelves = std::map<Shelf, std::set<Head>>;  // no shelf is empty

  struct Owner {
    std::uint64_t clock = 0;  // when the owner began to wait, or when one of its commands was last served
    std::uint64_t turn = 0;
    std::map<Arrival, Kind> guests;
    std::map<Kind, std::set<Arrival>> by_kind;  // no set is empty
    bool tenured = false;                       // by the terms of its first guest

   private:
    friend class WaitQueue;
    std::uint64_t late_turn = 0;  // when a guest of the owner was last told that its deadline has passed
    std::set<std::pair<std::uint64_t, Arrival>> by_deadline;
    std::vector<std::pair<Shelf, Head>> heads;  // as on the shelves
    std::uint64_t alarm = kNever;               // as in alarms_
    std::uint64_t filed_clock = kNever;         // as in by_clock_; kNever: not in by_clock_
    Kind filed_kind;
    bool late = false;  // as in late_
  };

  // Adds a guest that came after all others. A guest is in the queue once.
  void add(const Guest& guest);
  // False: the guest does not wait.
  bool remove(Id id);
  // Removes the guest; its owner had its turn.
  void served(Id id, std::uint64_t now);
  // Gives the guest another request or other terms; no effect if the guest does not wait.
  void change(Id id, const Kind& kind, std::uint64_t tenure, bool may_take);

  // When the guest has waited for half of its patience.
  [[nodiscard]] static std::uint64_t ages_at(const Guest& guest);
  // Applies the effects of time until `now`. Times go forward.
  void advance(std::uint64_t now);
  // When time has the next effect, deadlines included; kNever: never.
  [[nodiscard]] std::uint64_t next_change() const { return alarms_.empty() ? kNever : alarms_.begin()->first; }
  // A guest whose deadline has passed; owners take turns.
  [[nodiscard]] std::optional<Id> late() const;

  [[nodiscard]] bool empty() const { return guests_.empty(); }
  [[nodiscard]] std::size_t size() const { return guests_.size(); }
  [[nodiscard]] const std::map<Arrival, Guest>& guests() const { return guests_; }
  [[nodiscard]] const Guest* find(Id id) const;
  // A guest that waits.
  [[nodiscard]] const Guest& at(Arrival arrival) const;
  [[nodiscard]] const Guest& first_of(const Owner& owner) const { return at(owner.guests.begin()->first); }
  // The guests of a space, by arrival.
  [[nodiscard]] const std::set<Arrival>& of(SpaceId space) const;
  // The first of a kind of which a guest waits, of any owner.
  [[nodiscard]] const Guest& first_of(const Kind& kind) const;

  [[nodiscard]] const Shelves& shelves() const { return shelves_; }
  [[nodiscard]] std::size_t owners() const { return owners_.size(); }
  [[nodiscard]] const Owner* owner(OwnerId id) const;
  // Owners that have waited for their tenure.
  [[nodiscard]] const std::set<OwnerId>& tenured() const { return tenured_; }
  // Owners whose first guest is of that kind and may take a session, by their clocks.
  using ByClock = std::map<Kind, std::set<std::pair<std::uint64_t, OwnerId>>>;
  [[nodiscard]] const ByClock& by_clock() const { return by_clock_; }

  // How many times owners were entered in the indices since the start: a test compares the count with the number of
  // waiting commands.
  [[nodiscard]] std::uint64_t filed() const { return filed_; }

 private:
  using Owners = std::map<OwnerId, Owner>;

  // Around each change of an owner: removes the owner from all indices, and enters it again.
  void take_out(Owners::reference entry);
  void file(Owners::reference entry);
  void file_heads(Owners::reference entry);
  void erase(const Guest& guest);
  void drop_owner_without_guests(Owners::iterator entry);
  void note_turn(OwnerId owner, std::uint64_t turn);

  std::map<Arrival, Guest> guests_;
  std::unordered_map<Id, Arrival> arrivals_;
  Owners owners_;
  std::map<Kind, std::set<Arrival>> kinds_;
  std::map<SpaceId, std::set<Arrival>> spaces_;

  Shelves shelves_;
  ByClock by_clock_;
  std::set<OwnerId> tenured_;
  std::set<std::pair<std::uint64_t, OwnerId>> late_;    // by the turn that each has as a late owner
  std::set<std::pair<std::uint64_t, OwnerId>> alarms_;  // when each has its next change

  // Of owners that were served while others waited. Both directions; the oldest is forgotten first.
  std::map<OwnerId, std::uint64_t> last_turn_;
  std::map<std::uint64_t, OwnerId> by_turn_;

  Arrival last_arrival_ = 0;
  std::uint64_t turns_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t filed_ = 0;
};

}  // namespace tpmspace::space
