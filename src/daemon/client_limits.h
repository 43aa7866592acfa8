// How many connections there may be, in all, of one owner and of one TPM namespace: a count that is given back by
// itself.
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

#include "daemon/owner_numbers.h"
#include "space/owner.h"

namespace tpmspace::daemon {

class ClientLimits {
 public:
  enum class Verdict : std::uint8_t { kWelcome, kTooMany, kTooManyOfOwner, kTooManyOfNamespace };

  // Returns the count it took.
  class Place {
   public:
    Place(ClientLimits& limits, space::OwnerId owner) : limits_(&limits), owner_(owner) {
      ++limits_->total_;
      ++limits_->by_owner_[owner];
      ++limits_->by_realm_[realm_of(owner)];
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

  [[nodiscard]] Verdict judge(space::OwnerId owner, std::uint32_t max_of_owner,
                              std::uint32_t max_of_namespace = UINT32_MAX) const {
    if (max_total_ != 0 && total_ >= max_total_) return Verdict::kTooMany;
    if (total_of(owner) >= max_of_owner) return Verdict::kTooManyOfOwner;
    return total_of_realm(owner) >= max_of_namespace ? Verdict::kTooManyOfNamespace : Verdict::kWelcome;
  }
  [[nodiscard]] Place take(space::OwnerId owner) { return {*this, owner}; }
  [[nodiscard]] std::uint32_t max_total() const { return max_total_; }
  [[nodiscard]] std::size_t total() const { return total_; }
  [[nodiscard]] std::size_t total_of(space::OwnerId owner) const {
    const auto found = by_owner_.find(owner);
    return found == by_owner_.end() ? 0 : found->second;
  }

 private:
  [[nodiscard]] std::size_t total_of_realm(space::OwnerId owner) const {
    const auto found = by_realm_.find(realm_of(owner));
    return found == by_realm_.end() ? 0 : found->second;
  }
  void give_back(space::OwnerId owner) {
    const auto one_less = [](auto& counts, auto key) {
      const auto found = counts.find(key);
      if (--found->second == 0) counts.erase(found);
    };
    --total_;
    one_less(by_owner_, owner);
    one_less(by_realm_, realm_of(owner));
  }

  std::uint32_t max_total_;
  std::size_t total_ = 0;
  std::map<space::OwnerId, std::size_t> by_owner_;
  std::map<RealmNumber, std::size_t> by_realm_;  // only namespaces have a limit
};

}  // namespace tpmspace::daemon
