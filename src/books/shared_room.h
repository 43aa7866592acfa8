// Room that owners share: bytes of saved contexts, places in the queue, connections. One rule serves all kinds.
//
// Idea: the room has three parts. The first part is for administrators alone. The second part is for minimums: a fixed
// number of owners can have their minimum whatever other owners hold. The rest is common: an owner may take at most as
// much of the common part as is still free. So a single owner gets half of the common part, each of n owners gets
// 1/(n+1), and a new owner always finds some room. All administrators are one payer, whose minimum is the first part.
// When more owners come than there are minimums, the common part serves the additional owners.
// Threads: values. Units: whatever is counted.
// Source: Choudhury, Hahne: Dynamic queue length thresholds for shared-memory packet switches (1998), for the common
// part; docs/decisions/0018.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "books/owner.h"

namespace tpmspace::space {

// The account that taken room is charged to: an owner, or all administrators together.
struct Payer {
  OwnerId owner;  // 0 with `administers`
  bool administers = false;

  [[nodiscard]] static Payer of(OwnerId owner, bool administers) {
    return administers ? Payer{{}, true} : Payer{owner, false};
  }
  auto operator<=>(const Payer&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

struct ShareRule {
  std::uint64_t size = UINT64_MAX;       // of the whole room
  std::uint64_t for_administrators = 0;  // part of `size`
  std::uint64_t minimum = 0;             // of one owner
  std::uint64_t owners = 0;              // the number of owners with a guaranteed minimum

  static constexpr std::uint64_t kOwners = 256;

  // A sixteenth is for administrators, half is for minimums: of kOwners owners, or of fewer if each must get at least
  // `least`. Small rooms are for fewer owners. A room of any size keeps something for an administrator.
  [[nodiscard]] static ShareRule of(std::uint64_t size, std::uint64_t least);

  [[nodiscard]] std::uint64_t common() const { return size - for_administrators - minimum * owners; }
  [[nodiscard]] std::uint64_t minimum_of(const Payer& payer) const {
    return payer.administers ? for_administrators : minimum;
  }
  // The most that a single owner can get.
  [[nodiscard]] std::uint64_t most_of_one() const { return minimum + (common() + 1) / 2; }
};

// What each payer holds, and whether a payer may have more. Copies are independent.
class SharedRoom {
 public:
  explicit SharedRoom(const ShareRule& rule) : rule_(rule) {}
  // The same payers with the same holdings, under another rule.
  [[nodiscard]] SharedRoom by(const ShareRule& rule) const;

  [[nodiscard]] const ShareRule& rule() const { return rule_; }
  [[nodiscard]] bool admits(const Payer& payer, std::uint64_t more = 1) const;
  // Also succeeds without room: an operation that is needed to give something back is never refused.
  void take(const Payer& payer, std::uint64_t more = 1);
  // A payer cannot give back more than it holds.
  void give_back(const Payer& payer, std::uint64_t less = 1);

  [[nodiscard]] std::uint64_t taken() const { return in_minimums_ + of_administrators_ + beyond_; }
  [[nodiscard]] std::uint64_t taken(const Payer& payer) const;
  // The owner that holds the most, without administrators. Nullopt: no owner holds anything.
  [[nodiscard]] std::optional<Payer> largest() const;

  bool operator==(const SharedRoom& other) const { return held_ == other.held_; }

 private:
  void change(const Payer& payer, std::uint64_t from, std::uint64_t to);

  ShareRule rule_;
  std::map<Payer, std::uint64_t> held_;                    // no amount is zero
  std::set<std::pair<std::uint64_t, OwnerId>> by_amount_;  // of owners
  // The parts of `held_` in sum: within owners' minimums, within the administrators' part, beyond both.
  std::uint64_t in_minimums_ = 0, of_administrators_ = 0, beyond_ = 0;
};

}  // namespace tpmspace::space
