// Places among the chip's sessions that stay reserved for an owner for a while after the owner gave the session back.
//
// Idea: after a wait for a session (space/reclaim.h), an owner would wait as long for the next session if a hoarder got
// the place at once. So the place stays reserved for the owner for one tenure. For all other owners the place is taken.
// A kept place counts against the owner's fair share like a held session. Kept places are given up before any session
// is reclaimed: as soon as another owner waits while this owner is above its share. A session in a kept place inherits
// `served_at`, so repeated use renews only the place.
// Threads: a value. Units: nanoseconds of the manager's clock.
// Limits: `most` places in all, shared by owners (an owner has at most as many as are still free); no place is kept for
// longer than kLongest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "books/owner.h"

namespace tpmspace::space {

class KeptPlaces {
 public:
  static constexpr std::uint64_t kLongest = 60 * SessionTerms::kSecond;

  struct Place {
    OwnerId owner;
    std::uint64_t until = 0;
    std::uint64_t served_at = 0;  // when the waiting owner got the place
  };

  // False: the place would exceed the owner's share of `most`.
  bool keep(const Place& place, std::size_t most);
  // The owner starts a session in a kept place. Returns `served_at`; nullopt: the owner has no kept place.
  std::optional<std::uint64_t> use(OwnerId owner);
  // Gives up one place of the owner. False: the owner has none.
  bool release(OwnerId owner) { return use(owner).has_value(); }
  void expire(std::uint64_t now);
  void clear() { places_.clear(); }

  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] std::uint32_t of(OwnerId owner) const;
  [[nodiscard]] const std::vector<Place>& places() const { return places_; }
  // When the next place expires; UINT64_MAX: no place is kept.
  [[nodiscard]] std::uint64_t next_end() const;

 private:
  std::vector<Place> places_;  // few
};

}  // namespace tpmspace::space
