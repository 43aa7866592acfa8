// Commands that wait for a session or for a number, by owner: what SessionQueue and NumberQueue choose from.
//
// Idea: commands of one owner that ask for the same are of one *kind*, and are served by arrival. So only the first one
// of each owner and kind, its *head*, has to be looked at, however many wait. Heads stand on shelves: those of the same
// kind for which time has done the same. On a shelf they stand in the order of their owners' turns: first the owner
// that had its last turn longest ago.
// Time changes a head at most twice (it ages, its owner's tenure is over), and ends a wait at its deadline. `advance`
// finds what is due in an index by time. Owners whose deadlines have passed take turns as well, so thousands that
// expire together keep nobody else from an answer.
// Every operation takes time logarithmic in what waits; `advance` that for each change that is due.
// Threads: with the engine. Units: nanoseconds of the manager's clock. Limits: its owner bounds what waits; the last
// turns of kMostTurns owners are known.
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
  using Arrival = std::uint64_t;  // the order in which they came

  static constexpr std::uint64_t kNever = UINT64_MAX;
  static constexpr std::size_t kMostTurns = 4096;

  // What a command asks for. How long it waits at most belongs to it, so that those of one kind age by arrival.
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

  // What is the same for the heads that stand on a shelf.
  struct Shelf {
    Kind kind;
    bool tenured = false;                            // the owner has waited for its tenure
    bool aged = false;                               // the head has waited for half of its patience
    auto operator<=>(const Shelf&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  struct Head {
    std::uint64_t turn = 0;  // the owner's last one; 0: none
    Arrival arrival = 0;
    OwnerId owner;
    auto operator<=>(const Head&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  using Shelves = std::map<Shelf, std::set<Head>>;  // none is empty

  struct Owner {
    std::uint64_t clock = 0;  // since when it waits, or since one of its commands was served
    std::uint64_t turn = 0;
    std::map<Arrival, Kind> guests;
    std::map<Kind, std::set<Arrival>> by_kind;  // none is empty
    bool tenured = false;                       // by the terms of its first guest

   private:
    friend class WaitQueue;
    std::uint64_t late_turn = 0;  // when one of its guests was told last that its deadline has passed
    std::set<std::pair<std::uint64_t, Arrival>> by_deadline;
    std::vector<std::pair<Shelf, Head>> heads;  // as they stand on the shelves
    std::uint64_t alarm = kNever;               // as it stands in alarms_
    std::uint64_t filed_clock = kNever;         // as it stands in by_clock_; kNever: it does not
    Kind filed_kind;
    bool late = false;  // as it stands in late_
  };

  // Precondition: it came after all others, and waits nowhere yet.
  void add(const Guest& guest);
  // False: it does not wait.
  bool remove(Id id);
  // It is removed, and its owner had its turn.
  void served(Id id, std::uint64_t now);
  // It asks for something else now, or on other terms; nothing if it does not wait.
  void change(Id id, const Kind& kind, std::uint64_t tenure, bool may_take);

  // When it has waited for half of its patience.
  [[nodiscard]] static std::uint64_t ages_at(const Guest& guest);
  // What time has changed until now. Times go forward.
  void advance(std::uint64_t now);
  // When time will change something, deadlines included; kNever: never.
  [[nodiscard]] std::uint64_t next_change() const { return alarms_.empty() ? kNever : alarms_.begin()->first; }
  // One whose deadline has passed; owners take turns.
  [[nodiscard]] std::optional<Id> late() const;

  [[nodiscard]] bool empty() const { return guests_.empty(); }
  [[nodiscard]] std::size_t size() const { return guests_.size(); }
  [[nodiscard]] const std::map<Arrival, Guest>& guests() const { return guests_; }
  [[nodiscard]] const Guest* find(Id id) const;
  // Precondition: it waits.
  [[nodiscard]] const Guest& at(Arrival arrival) const { return guests_.at(arrival); }
  [[nodiscard]] const Guest& first_of(const Owner& owner) const { return at(owner.guests.begin()->first); }
  // Those of a space, by arrival.
  [[nodiscard]] const std::set<Arrival>& of(SpaceId space) const;
  // Of a kind, whoever it is of. Precondition: there is one.
  [[nodiscard]] const Guest& first_of(const Kind& kind) const { return at(*kinds_.at(kind).begin()); }

  [[nodiscard]] const Shelves& shelves() const { return shelves_; }
  [[nodiscard]] std::size_t owners() const { return owners_.size(); }
  [[nodiscard]] const Owner* owner(OwnerId id) const;
  // Those that have waited for their tenure.
  [[nodiscard]] const std::set<OwnerId>& tenured() const { return tenured_; }
  // Owners whose first guest is of that kind and may take a session, by their clocks.
  using ByClock = std::map<Kind, std::set<std::pair<std::uint64_t, OwnerId>>>;
  [[nodiscard]] const ByClock& by_clock() const { return by_clock_; }

  // Owners whose places in the indices were made anew since the beginning: what a test holds against those that wait.
  [[nodiscard]] std::uint64_t filed() const { return filed_; }

 private:
  using Owners = std::map<OwnerId, Owner>;

  // Around each change of an owner: out of all indices, and in again.
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
  std::set<std::pair<std::uint64_t, OwnerId>> late_;    // by the turn that they had as such
  std::set<std::pair<std::uint64_t, OwnerId>> alarms_;  // when something changes

  // Of owners that were served while others waited. Both ways; the oldest is forgotten first.
  std::map<OwnerId, std::uint64_t> last_turn_;
  std::map<std::uint64_t, OwnerId> by_turn_;

  Arrival last_arrival_ = 0;
  std::uint64_t turns_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t filed_ = 0;
};

}  // namespace tpmspace::space
