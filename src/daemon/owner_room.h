// Room that owners share, so that none can fill it up: places are counted for each owner and for all.
//
// Idea: an owner finds a place as long as it has no more than are still free (space::within_share): one alone gets
// half, n owners get 1/(n+1) each, and whoever comes next always finds some. Threads: belongs to the event loop. Units:
// whatever is counted.
#pragma once

#include <cstddef>
#include <map>

#include "space/owner.h"

namespace tpmspace::daemon {

class OwnerRoom {
 public:
  explicit OwnerRoom(std::size_t size) : size_(size) {}

  [[nodiscard]] bool has_place(space::OwnerId owner) const { return space::within_share(taken(owner), all_, size_, 1); }
  // Also where there is none: what must be done to give something back is never refused.
  void take(space::OwnerId owner) {
    ++by_owner_[owner];
    ++all_;
  }
  // Precondition: the owner has taken so many.
  void give_back(space::OwnerId owner, std::size_t places = 1) {
    const auto found = by_owner_.find(owner);
    all_ -= places;
    found->second -= places;
    if (found->second == 0) by_owner_.erase(found);
  }
  [[nodiscard]] std::size_t taken() const { return all_; }
  [[nodiscard]] std::size_t taken(space::OwnerId owner) const {
    const auto found = by_owner_.find(owner);
    return found == by_owner_.end() ? 0 : found->second;
  }

 private:
  std::size_t size_;
  std::size_t all_ = 0;
  std::map<space::OwnerId, std::size_t> by_owner_;
};

}  // namespace tpmspace::daemon
