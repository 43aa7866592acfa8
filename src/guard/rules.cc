#include "guard/rules.h"

#include <fmt/format.h>

#include <algorithm>
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
         agrees(cgroup, principal.cgroup, kMatches) && agrees(user_namespace, principal.user_namespace, kSame) &&
         agrees(mount_namespace, principal.mount_namespace, kSame) && agrees(lsm_label, principal.lsm_label, kSame);
}

tl::expected<Policy, std::string> Policy::make(Profiles own, std::vector<Rule> rules) {
  for (const auto& [name, profile] : own)
    if (shipped_profile(name) != nullptr)
      return tl::unexpected(fmt::format("the profile \"{}\" is built in; give yours another name", name));
  Policy out;
  out.profiles_ = std::move(own);
  out.rules_ = std::move(rules);
  for (const Rule& rule : out.rules_)
    if (out.profile(rule.profile) == nullptr)
      return tl::unexpected(
          fmt::format("the rule on line {} gives the profile \"{}\", which does not exist", rule.line, rule.profile));
  return out;
}

Policy Policy::standard(std::uint32_t own_uid) {
  Rule rule;
  rule.uids = Numbers{{0, 0}, {own_uid, own_uid}};
  rule.profile = admin().name;
  Policy out;
  out.rules_.push_back(std::move(rule));
  return out;
}

const Profile* Policy::profile(std::string_view name) const {
  const auto own = profiles_.find(name);
  return own != profiles_.end() ? &own->second : shipped_profile(name);
}

Choice Policy::choose(const Principal& principal, std::string_view door) const {
  Choice out;
  std::optional<Profile> narrowed;
  const auto give = [&](const Profile& profile) { narrowed = narrowed ? narrow(*narrowed, profile) : profile; };

  out.by_default = true;
  for (std::size_t i = 0; i < rules_.size() && out.by_default; ++i) {
    const Rule& rule = rules_[i];
    if (!rule.matches(principal, door)) continue;
    out.rules.push_back(i);
    give(*profile(rule.profile));
    narrowed->disabled = narrowed->disabled | rule.disabled;
    out.by_default = rule.only_narrows();
  }
  if (out.by_default) give(safe());
  out.profile = *std::move(narrowed);
  return out;
}

}  // namespace tpmspace::guard
