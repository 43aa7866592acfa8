#include "books/kept_places.h"

#include <algorithm>

namespace tpmspace::space {

bool KeptPlaces::keep(const Place& place, std::size_t most) {
  // An owner has at most as many places as are still free.
  if (places_.size() >= most || of(place.owner) + 1 > most - places_.size()) return false;
  places_.push_back(place);
  return true;
}

std::optional<std::uint64_t> KeptPlaces::use(OwnerId owner) {
  const auto found =
      std::find_if(places_.begin(), places_.end(), [&](const Place& place) { return place.owner == owner; });
  if (found == places_.end()) return std::nullopt;
  const std::uint64_t served_at = found->served_at;
  places_.erase(found);
  return served_at;
}

void KeptPlaces::expire(std::uint64_t now) {
  std::erase_if(places_, [now](const Place& place) { return place.until <= now; });
}

std::uint32_t KeptPlaces::of(OwnerId owner) const {
  return static_cast<std::uint32_t>(
      std::count_if(places_.begin(), places_.end(), [&](const Place& place) { return place.owner == owner; }));
}

std::uint64_t KeptPlaces::next_end() const {
  std::uint64_t out = UINT64_MAX;
  for (const Place& place : places_) out = std::min(out, place.until);
  return out;
}

}  // namespace tpmspace::space
