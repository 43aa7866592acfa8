// How many connections there may be, in all and of one owner: a count that is given back by itself.
//
// Idea: a connection holds a `Place`; whoever forgets to give it back cannot (RAII). A client for whom there is none is
// one of a few that are answered before they are closed, or is closed at once.
// Threads: belongs to the event loop; places must not outlive it. Units: connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "space/owner.h"

namespace tpmspace::daemon {

class ClientLimits {
 public:
  enum class Verdict : std::uint8_t { kWelcome, kTooMany, kTooManyOfOwner };

  // Returns the count it took.
  class Place {
   public:
    Place(ClientLimits& limits, space::OwnerId owner) : limits_(&limits), owner_(owner) {
      ++limits_->total_;
      ++limits_->by_owner_[owner];
    }
    Place(Place&& other) noexcept : limits_(other.limits_), owner_(other.owner_) { other.limits_ = nullptr; }
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (limits_ != nullptr) limits_->give_back(owner_);
    }

   private:
    ClientLimits* limits_;
    space::OwnerId owner_;
  };

  // `total` 0: no limit.
  explicit ClientLimits(std::uint32_t total) : max_total_(total) {}

  [[nodiscard]] Verdict judge(space::OwnerId owner, std::uint32_t max_of_owner) const {
    if (max_total_ != 0 && total_ >= max_total_) return Verdict::kTooMany;
    return total_of(owner) >= max_of_owner ? Verdict::kTooManyOfOwner : Verdict::kWelcome;
  }
  [[nodiscard]] Place take(space::OwnerId owner) { return {*this, owner}; }
  [[nodiscard]] std::size_t total() const { return total_; }
  [[nodiscard]] std::size_t total_of(space::OwnerId owner) const {
    const auto found = by_owner_.find(owner);
    return found == by_owner_.end() ? 0 : found->second;
  }

 private:
  void give_back(space::OwnerId owner) {
    --total_;
    const auto found = by_owner_.find(owner);
    if (--found->second == 0) by_owner_.erase(found);
  }

  std::uint32_t max_total_;
  std::size_t total_ = 0;
  std::map<space::OwnerId, std::size_t> by_owner_;
};

}  // namespace tpmspace::daemon
