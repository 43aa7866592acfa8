// Who a space belongs to, as a plain number. The rooms that know what it stands for (a uid, and later the namespace)
// make it; the manager only compares. Threads: a value.
#pragma once

#include <compare>
#include <cstdint>

namespace tpmspace::space {

struct OwnerId {
  std::uint64_t value = 0;
  auto operator<=>(const OwnerId&) const = default;
};

struct SpaceId {
  std::uint64_t value = 0;
  auto operator<=>(const SpaceId&) const = default;
};

// What one space may hold. Units: entities.
struct SpaceLimits {
  std::uint32_t objects = 1000;  // transient objects and sequences
  std::uint32_t sessions = 64;   // active ones, those it saved itself included
};

}  // namespace tpmspace::space
