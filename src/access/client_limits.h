// Limits of connections: in total, of one owner, of one user and of one TPM namespace. The total is a room that owners
// share (books/shared_room.h), so that one owner alone does not keep other owners out.
//
// Idea: a connection holds a `Place`, which returns its count when destroyed (RAII). If there is no place for a client,
// the client is answered before its connection is closed (for a few clients), or the connection is closed at once.
// Beyond all limits some places are kept for administrators, who can end a flood (limits::kAdministratorPlaces); kept
// places reduce no other client's places.
// Threads: belongs to the event loop; places must not outlive the limits. Units: connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/limits.h"
#include "books/owner.h"
#include "books/shared_room.h"
#include "peer/owner_numbers.h"

namespace tpmspace::access {

class ClientLimits {
 public:
  enum class Verdict : std::uint8_t {
    kWelcome,
    kTooMany,
    kTooManyOfShare,  // share of the total
    kTooManyAtListener,
    kTooManyOfOwner,
    kTooManyOfUser,
    kTooManyOfNamespace
  };
  enum class Kind : std::uint8_t { kUsual, kKept };

  // Returns its count when destroyed.
  class Place {
   public:
    Place(ClientLimits& limits, const space::Holder& who, Kind kind) : limits_(&limits), who_(who), kind_(kind) {
      ++limits_->total_;
      if (kind_ == Kind::kKept)
        ++limits_->kept_;
      else
        limits_->room_.take(space::Payer::of(who.owner, false));
      ++limits_->by_owner_[who.owner];
      ++limits_->by_user_[peer::user_of(who)];
      ++limits_->by_tenant_[peer::tenant_of(who.owner)];
    }
    Place(Place&& other) noexcept : limits_(other.limits_), who_(other.who_), kind_(other.kind_) {
      other.limits_ = nullptr;
    }
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (limits_ == nullptr) return;
      if (kind_ == Kind::kKept)
        --limits_->kept_;
      else
        limits_->room_.give_back(space::Payer::of(who_.owner, false));
      limits_->give_back(who_);
    }

   private:
    ClientLimits* limits_;
    space::Holder who_;
    Kind kind_;
  };

  // `total` 0: no limit.
  explicit ClientLimits(std::uint32_t total) : max_total_(total), room_(rule(total)) {}

  [[nodiscard]] Verdict judge(const space::Holder& who, std::uint32_t max_of_owner, std::uint32_t max_of_user,
                              std::uint32_t max_of_namespace) const {
    const Verdict verdict = judge(who.owner, max_of_owner, max_of_namespace);
    const bool is_full_of_him = count_in(by_user_, peer::user_of(who)) >= max_of_user;
    return verdict == Verdict::kWelcome && is_full_of_him ? Verdict::kTooManyOfUser : verdict;
  }
  [[nodiscard]] Verdict judge(space::OwnerId owner, std::uint32_t max_of_owner,
                              std::uint32_t max_of_namespace = UINT32_MAX) const {
    if (is_full()) return Verdict::kTooMany;
    if (total_of(owner) >= max_of_owner) return Verdict::kTooManyOfOwner;
    if (!room_.admits(space::Payer::of(owner, false))) return Verdict::kTooManyOfShare;
    return count_in(by_tenant_, peer::tenant_of(owner)) >= max_of_namespace ? Verdict::kTooManyOfNamespace
                                                                            : Verdict::kWelcome;
  }
  // No usual place is free for any client.
  [[nodiscard]] bool is_full() const { return max_total_ != 0 && total_ - kept_ >= max_total_; }
  [[nodiscard]] bool has_kept_place() const { return kept_ < limits::kAdministratorPlaces; }
  [[nodiscard]] Place take(const space::Holder& who, Kind kind = Kind::kUsual) { return {*this, who, kind}; }
  [[nodiscard]] std::uint32_t max_total() const { return max_total_; }
  [[nodiscard]] std::size_t total() const { return total_; }
  [[nodiscard]] std::size_t total_of(space::OwnerId owner) const { return count_in(by_owner_, owner); }

 private:
  // The places for administrators are beyond the limit.
  [[nodiscard]] static space::ShareRule rule(std::uint32_t total) {
    space::ShareRule out = total == 0 ? space::ShareRule{} : space::ShareRule::of(total, 1);
    out.for_administrators = 0;
    return out;
  }
  template <typename Key>
  [[nodiscard]] static std::size_t count_in(const std::map<Key, std::size_t>& counts, Key key) {
    const auto found = counts.find(key);
    return found == counts.end() ? 0 : found->second;
  }
  void give_back(const space::Holder& who) {
    const auto one_less = [](auto& counts, auto key) {
      const auto found = counts.find(key);
      if (--found->second == 0) counts.erase(found);
    };
    --total_;
    one_less(by_owner_, who.owner);
    one_less(by_user_, peer::user_of(who));
    one_less(by_tenant_, peer::tenant_of(who.owner));
  }

  std::uint32_t max_total_;
  space::SharedRoom room_;  // of `max_total_`
  std::size_t total_ = 0;
  std::size_t kept_ = 0;  // kept places, included in total_
  std::map<space::OwnerId, std::size_t> by_owner_;
  std::map<space::OwnerId, std::size_t> by_user_;
  std::map<peer::TenantNumber, std::size_t> by_tenant_;  // only namespaces have a limit
};

}  // namespace tpmspace::access
