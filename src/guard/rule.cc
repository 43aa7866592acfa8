#include "guard/rule.h"

#include <algorithm>
#include <vector>

namespace tpmspace::guard {
namespace {

// What a rule does not name is so; what is not known is not.
template <typename Named, typename Known, typename Test>
bool agrees(const std::optional<Named>& named, const std::optional<Known>& known, const Test& test) {
  return !named || (known && test(*named, *known));
}

constexpr auto kSame = [](const auto& named, const auto& known) { return named == known; };
constexpr auto kMatches = [](const Pattern& named, const std::string& known) { return named.matches(known); };
constexpr auto kAnyOf = [](const Numbers& named, const std::vector<std::uint32_t>& known) {
  return std::any_of(known.begin(), known.end(), [&](std::uint32_t one) { return named.contains(one); });
};

}  // namespace

bool Rule::matches(const Principal& principal, std::string_view through_door) const {
  return (!door || *door == through_door) && (!uids || uids->contains(principal.uid)) &&
         agrees(gids, principal.gids, kAnyOf) && agrees(executable, principal.executable, kMatches) &&
         agrees(cgroup, principal.cgroup, kMatches) && agrees(unit, principal.unit, kMatches) &&
         agrees(container, principal.container, kMatches) && agrees(pod, principal.pod, kMatches) &&
         agrees(user_namespace, principal.user_namespace, kSame) &&
         agrees(mount_namespace, principal.mount_namespace, kSame) && agrees(lsm_label, principal.lsm_label, kSame) &&
         agrees(tpm_namespace, principal.tpm_namespace, kSame) && agrees(chip, principal.chip, kSame);
}

bool Rule::covers(const Rule& later) const {
  constexpr auto kAllOf = [](const Numbers& named, const Numbers& wanted) {
    const auto ranges = wanted.ranges();
    return std::all_of(ranges.begin(), ranges.end(), [&](Numbers::Range one) { return named.contains(one); });
  };
  return agrees(door, later.door, kSame) && agrees(uids, later.uids, kAllOf) && agrees(gids, later.gids, kAllOf) &&
         agrees(executable, later.executable, kSame) && agrees(cgroup, later.cgroup, kSame) &&
         agrees(unit, later.unit, kSame) && agrees(container, later.container, kSame) &&
         agrees(pod, later.pod, kSame) && agrees(user_namespace, later.user_namespace, kSame) &&
         agrees(mount_namespace, later.mount_namespace, kSame) && agrees(lsm_label, later.lsm_label, kSame) &&
         agrees(tpm_namespace, later.tpm_namespace, kSame) && agrees(chip, later.chip, kSame);
}

}  // namespace tpmspace::guard
