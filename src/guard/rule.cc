#include "guard/rule.h"

#include <algorithm>
#include <vector>

namespace tpmspace::guard {
namespace {

// A condition that the rule does not name is met.
template <typename Named, typename Test>
Match agrees(const std::optional<Named>& named, const Known<Named>& known, Match unknown, const Test& test) {
  if (!named) return Match::kYes;
  return known.is_known() ? match_if(known.value() && test(*named, *known.value())) : unknown;
}
Match agrees(const std::optional<Pattern>& named, const Known<std::string>& known, Match unknown) {
  if (!named) return Match::kYes;
  return known.is_known() ? match_if(known.value() && named->matches(*known.value())) : unknown;
}
Match agrees(const std::optional<Numbers>& named, const Principal& principal, Match unknown) {
  const auto is_named = [&](std::uint32_t gid) { return named->contains(gid); };
  if (!named || std::any_of(principal.gids.begin(), principal.gids.end(), is_named)) return Match::kYes;
  return principal.all_gids ? Match::kNo : unknown;
}

// A condition that the earlier rule does not name includes every condition of the later rule.
template <typename Named, typename Test>
bool includes(const std::optional<Named>& named, const std::optional<Named>& later, const Test& test) {
  return !named || (later && test(*named, *later));
}

constexpr auto kSame = [](const auto& named, const auto& known) { return named == known; };

}  // namespace

Match Rule::matches(const Principal& principal, std::string_view through_listener, Match unreadable) const {
  constexpr auto kMaybe = Match::kMaybe;
  const Match of_socket = match_if((!listener || *listener == through_listener) &&
                                   (!uids || uids->contains(principal.uid)) && (!chip || chip == principal.chip));
  const Match of_cgroup = agrees(cgroup, principal.cgroup, kMaybe) & agrees(unit, principal.unit, kMaybe) &
                          agrees(container, principal.container, kMaybe) & agrees(pod, principal.pod, kMaybe);
  return of_socket & of_cgroup & agrees(gids, principal, unreadable) &
         agrees(lsm_label, principal.lsm_label, unreadable, kSame) &
         agrees(executable, principal.executable, unreadable) &
         agrees(user_namespace, principal.user_namespace, unreadable, kSame) &
         agrees(mount_namespace, principal.mount_namespace, unreadable, kSame) &
         agrees(tpm_namespace, principal.tpm_namespace, kMaybe, kSame) & (native ? principal.is_native : Match::kYes);
}

bool Rule::covers(const Rule& later) const {
  constexpr auto kAllOf = [](const Numbers& named, const Numbers& wanted) {
    const auto ranges = wanted.ranges();
    return std::all_of(ranges.begin(), ranges.end(), [&](Numbers::Range one) { return named.contains(one); });
  };
  return (!native || later.native) && includes(listener, later.listener, kSame) && includes(uids, later.uids, kAllOf) &&
         includes(gids, later.gids, kAllOf) && includes(executable, later.executable, kSame) &&
         includes(cgroup, later.cgroup, kSame) && includes(unit, later.unit, kSame) &&
         includes(container, later.container, kSame) && includes(pod, later.pod, kSame) &&
         includes(user_namespace, later.user_namespace, kSame) &&
         includes(mount_namespace, later.mount_namespace, kSame) && includes(lsm_label, later.lsm_label, kSame) &&
         includes(tpm_namespace, later.tpm_namespace, kSame) && includes(chip, later.chip, kSame);
}

}  // namespace tpmspace::guard
