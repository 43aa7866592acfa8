#include "guard/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "guard/shipped.h"

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
         agrees(mount_namespace, principal.mount_namespace, kSame) && agrees(lsm_label, principal.lsm_label, kSame);
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
         agrees(mount_namespace, later.mount_namespace, kSame) && agrees(lsm_label, later.lsm_label, kSame);
}

tl::expected<Policy, std::string> Policy::make(Profiles own, std::vector<Rule> rules, const SessionTerms& terms,
                                               const Limits& limits) {
  Policy out;
  out.profiles_ = std::move(own);
  for (const Profile* shipped : shipped_profiles()) {
    Profile profile = *shipped;
    profile.terms = terms;
    profile.limits = limits;
    if (!out.profiles_.emplace(profile.name, profile).second)
      return tl::unexpected(fmt::format("the profile \"{}\" is built in; give yours another name", profile.name));
  }
  out.rules_ = std::move(rules);
  for (const Rule& rule : out.rules_)
    if (out.profile(rule.profile) == nullptr)
      return tl::unexpected(
          fmt::format("the rule on line {} gives the profile \"{}\", which does not exist", rule.line, rule.profile));
  return out;
}

Rule Policy::standard_rule(std::uint32_t own_uid) {
  Rule out;
  out.uids = Numbers{{0, 0}, {own_uid, own_uid}};
  out.profile = admin().name;
  return out;
}

Policy Policy::standard(std::uint32_t own_uid) {
  auto out = make({}, {standard_rule(own_uid)});
  assert(out && "the standard rule gives a shipped profile");
  return *std::move(out);
}

const Profile* Policy::profile(std::string_view name) const {
  const auto found = profiles_.find(name);
  return found != profiles_.end() ? &found->second : nullptr;
}

Choice Policy::choose(const Principal& principal, std::string_view door, std::string_view door_profile) const {
  Choice out;
  std::optional<Profile> narrowed;
  const auto give = [&](const Profile& profile) { narrowed = narrowed ? narrow(*narrowed, profile) : profile; };

  bool given = false;
  for (std::size_t i = 0; i < rules_.size() && !given; ++i) {
    const Rule& rule = rules_[i];
    if (rule.line == 0 && !door_profile.empty()) break;
    if (!rule.matches(principal, door)) continue;
    out.rules.push_back(i);
    give(*profile(rule.profile));
    narrowed->disabled = narrowed->disabled | rule.disabled;
    given = !rule.only_narrows();
  }
  out.by_door = !given && !door_profile.empty();
  out.by_default = !given && !out.by_door;
  if (out.by_door) {
    const Profile* of_door = profile(door_profile);
    Profile nothing;
    nothing.name = door_profile;
    give(of_door != nullptr ? *of_door : nothing);
  }
  if (out.by_default) give(*profile(safe().name));
  out.profile = *std::move(narrowed);
  return out;
}

}  // namespace tpmspace::guard
