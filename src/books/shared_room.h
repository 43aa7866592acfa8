// Room that owners share: bytes of saved contexts, places in the queue, connections. One rule for all of them.
//
// Idea: the room has three parts. One is for administrators alone. One is for minimums: so many owners find theirs
// there, whatever the others hold. The rest is common: an owner may have no more of it than is still free, so one alone
// gets half of it, each of n owners 1/(n+1), and the next one always finds some. All administrators are
// one payer, whose minimum is their part. When more owners come than there are minimums, the common part serves them,
// too.
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

// In whose name room is taken: an owner, or all administrators together.
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
  std::uint64_t for_administrators = 0;  // of it
  std::uint64_t minimum = 0;             // of one owner
  std::uint64_t owners = 0;              // that find their minimum

  static constexpr std::uint64_t kOwners = 256;

  // A sixteenth is for administrators, half is for minimums: of kOwners, or of as many as it gives `least` to each.
  // Small rooms are for fewer owners, and whatever the size, there is something for an administrator.
  [[nodiscard]] static ShareRule of(std::uint64_t size, std::uint64_t least);

  [[nodiscard]] std::uint64_t common() const { return size - for_administrators - minimum * owners; }
  [[nodiscard]] std::uint64_t minimum_of(const Payer& payer) const {
    return payer.administers ? for_administrators : minimum;
  }
  // The most that one owner can get, alone.
  [[nodiscard]] std::uint64_t most_of_one() const { return minimum + (common() + 1) / 2; }
};

// What each payer holds, and whether it may have more. Copies are independent.
class SharedRoom {
 public:
  explicit SharedRoom(const ShareRule& rule) : rule_(rule) {}
  // The same payers with what they hold, by another rule.
  [[nodiscard]] SharedRoom by(const ShareRule& rule) const;

  [[nodiscard]] const ShareRule& rule() const { return rule_; }
  [[nodiscard]] bool admits(const Payer& payer, std::uint64_t more = 1) const;
  // Also where there is no room: what must be done to give something back is never refused.
  void take(const Payer& payer, std::uint64_t more = 1);
  // Precondition: the payer holds so much.
  void give_back(const Payer& payer, std::uint64_t less = 1);

  [[nodiscard]] std::uint64_t taken() const { return in_minimums_ + of_administrators_ + beyond_; }
  [[nodiscard]] std::uint64_t taken(const Payer& payer) const;
  // The payer that holds the most; administrators apart. Nullopt: nobody holds anything.
  [[nodiscard]] std::optional<Payer> largest() const;

  bool operator==(const SharedRoom& other) const { return held_ == other.held_; }

 private:
  void change(const Payer& payer, std::uint64_t from, std::uint64_t to);

  ShareRule rule_;
  std::map<Payer, std::uint64_t> held_;                    // none is zero
  std::set<std::pair<std::uint64_t, OwnerId>> by_amount_;  // of owners
  // The parts of `held_`, added up: within owners' minimums, within the administrators' part, beyond.
  std::uint64_t in_minimums_ = 0, of_administrators_ = 0, beyond_ = 0;
};

}  // namespace tpmspace::space
