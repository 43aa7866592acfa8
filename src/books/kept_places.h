// Places among the chip's sessions that stay an owner's for a while after it has given them back.
//
// Idea: an owner that waited for a session (space/reclaim.h) would wait as long for the next one if a hoarder got the
// place as soon as it is given back. So the place stays the owner's for one tenure. To everybody else it is out, and
// against the owner's fair share it counts as a session that the owner holds. It goes before any session does: as soon
// as somebody waits and its owner is above the share. A session that is started in a kept place inherits when the
// owner was served, so using the place again and again renews nothing but the place.
// Threads: a value. Units: nanoseconds of the manager's clock. Limits: `most` places in all, shared by owners
// (no owner has more than are still free); none is kept for longer than kLongest.
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
    std::uint64_t served_at = 0;  // when the owner got it, after it had waited
  };

  // False: that would be more than the owner's share of `most`.
  bool keep(const Place& place, std::size_t most);
  // The owner starts a session in one; when it got it. Nullopt: it has none.
  std::optional<std::uint64_t> use(OwnerId owner);
  // One of the owner's is kept no longer. False: it has none.
  bool release(OwnerId owner) { return use(owner).has_value(); }
  void expire(std::uint64_t now);
  void clear() { places_.clear(); }

  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] std::uint32_t of(OwnerId owner) const;
  [[nodiscard]] const std::vector<Place>& places() const { return places_; }
  // When the next one is kept no longer; UINT64_MAX: there is none.
  [[nodiscard]] std::uint64_t next_end() const;

 private:
  std::vector<Place> places_;  // few
};

}  // namespace tpmspace::space
