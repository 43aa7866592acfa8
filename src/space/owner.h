// Who a space belongs to, as a plain number. The rooms that know what it stands for (a uid, and later the namespace)
// make it; the manager only compares. Threads: a value.
#pragma once

#include <compare>
#include <cstdint>

namespace tpmspace::space {

struct OwnerId {
  std::uint64_t value = 0;
  auto operator<=>(const OwnerId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

struct SpaceId {
  std::uint64_t value = 0;
  auto operator<=>(const SpaceId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Whether an owner that has `own` of what all share may take `more` of it: no more than would then still be free. One
// owner alone gets half, each of n owners gets 1/(n+1), and whoever comes next always finds some.
// Source: Choudhury, Hahne: Dynamic queue length thresholds for shared-memory packet switches (1998).
[[nodiscard]] constexpr bool within_share(std::uint64_t own, std::uint64_t all, std::uint64_t limit,
                                          std::uint64_t more) {
  return all <= limit && more <= limit - all && own + more <= limit - all;
}

// What one space may hold. Units: entities.
struct SpaceLimits {
  std::uint32_t objects = 1000;  // transient objects and sequences
  std::uint32_t sessions = 64;   // active ones, those it saved itself included
};

}  // namespace tpmspace::space
