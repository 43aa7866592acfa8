// The line of those that wait for a number: for a session that can be made again, so that it takes nothing from anybody
// and the bank is not asked (space/parking.h).
//
// Idea: a number can always be had, but somebody might notice; so they wait until nobody does, for a moment at most.
// Owners take turns: a thousand connections of one owner are one waiter.
// Threads: with the engine. Units: nanoseconds of the manager's clock. Limits: its owner bounds it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "space/session_book.h"

namespace tpmspace::space {

class NumberLine {
 public:
  using Id = std::uint64_t;

  struct Guest {
    Id id = 0;
    SpaceId space;
    OwnerId owner;
    std::uint64_t since = 0;
    std::uint64_t deadline = 0;
    std::optional<std::uint32_t> number;  // nullopt: any will do
  };

  void add(const Guest& guest) { guests_.push_back(guest); }
  // False: it is not in the line.
  bool remove(Id id);
  [[nodiscard]] bool empty() const { return guests_.empty(); }
  [[nodiscard]] std::size_t size() const { return guests_.size(); }
  // By arrival.
  [[nodiscard]] const std::vector<Guest>& guests() const { return guests_; }

  // Null: it is not in the line.
  [[nodiscard]] const Guest* find(Id id) const;
  // One whose deadline has passed.
  [[nodiscard]] std::optional<Id> expired(std::uint64_t now) const;
  // One that may have a number now; whoever is served is removed with `served`.
  [[nodiscard]] std::optional<Id> next(const SessionBook& book, std::uint64_t now) const;
  void served(Id id);
  // When there will be something to do if nothing else happens. Precondition: it is not empty.
  [[nodiscard]] std::uint64_t look_again(const SessionBook& book) const;

 private:
  std::vector<Guest> guests_;
  std::map<OwnerId, std::uint64_t> last_turn_;  // of those that were served while others waited
  std::uint64_t turns_ = 0;
};

}  // namespace tpmspace::space
