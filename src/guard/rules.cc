#include "guard/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "guard/shipped.h"
#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

// What `change` makes of each set about that kind of entities: "nv.".
template <typename Change>
void change_sets(Profile& profile, std::string_view kind, const Change& change) {
  for (const auto& [name, set] : kSets)
    if (name.starts_with(kind)) profile.*set = change(profile.*set);
}

}  // namespace

tl::expected<Policy, std::string> Policy::make(Profiles own, std::vector<Rule> rules, const SessionTerms& terms,
                                               const Limits& limits, std::vector<Namespace> namespaces) {
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
  out.namespaces_ = std::move(namespaces);
  for (const Namespace& one : out.namespaces_)
    if (one.window) out.windows_ = out.windows_ | Numbers{*one.window};
  if (auto missing = out.missing()) return tl::unexpected(*std::move(missing));
  return out;
}

std::optional<std::string> Policy::missing() const {
  for (const Rule& rule : rules_) {
    if (profile(rule.profile) == nullptr)
      return fmt::format("the rule on line {} gives the profile \"{}\", which does not exist", rule.line, rule.profile);
    if (rule.tpm_namespace && namespace_named(*rule.tpm_namespace) == nullptr)
      return fmt::format("the rule on line {} is about the namespace \"{}\", which does not exist", rule.line,
                         *rule.tpm_namespace);
  }
  for (const Namespace& one : namespaces_)
    if (one.profile && profile(*one.profile) == nullptr)
      return fmt::format("the namespace on line {} gives the profile \"{}\", which does not exist", one.line,
                         *one.profile);
  return std::nullopt;
}

Rule Policy::standard_rule(std::uint32_t own_uid) {
  Rule out;
  out.uids = own_uid == kOverflowUid ? Numbers::one(0) : Numbers{{0, 0}, {own_uid, own_uid}};
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

const Namespace* Policy::namespace_of(const Principal& principal, std::string_view door) const {
  const auto found = std::find_if(namespaces_.begin(), namespaces_.end(),
                                  [&](const Namespace& one) { return one.members.matches(principal, door); });
  return found != namespaces_.end() ? &*found : nullptr;
}

const Namespace* Policy::namespace_named(std::string_view name) const {
  const auto found =
      std::find_if(namespaces_.begin(), namespaces_.end(), [&](const Namespace& one) { return one.name == name; });
  return found != namespaces_.end() ? &*found : nullptr;
}

const Namespace* Policy::home_of(const Principal& principal) const {
  return principal.tpm_namespace ? namespace_named(*principal.tpm_namespace) : nullptr;
}

Choice Policy::choose(const Principal& principal, std::string_view door, std::string_view door_profile) const {
  const Namespace* home = home_of(principal);
  const std::string_view of_namespace = home != nullptr && home->profile ? std::string_view(*home->profile) : "";
  Choice out;
  std::optional<Profile> narrowed;
  const auto give = [&](const Profile& profile) { narrowed = narrowed ? narrow(*narrowed, profile) : profile; };

  bool given = false;
  for (std::size_t i = 0; i < rules_.size() && !given; ++i) {
    const Rule& rule = rules_[i];
    if (rule.line == 0 && !(of_namespace.empty() && door_profile.empty())) break;
    if (!rule.matches(principal, door)) continue;
    out.rules.push_back(i);
    give(*profile(rule.profile));
    narrowed->disabled = narrowed->disabled | rule.disabled;
    given = !rule.only_narrows();
  }
  out.by_namespace = !given && !of_namespace.empty();
  out.by_door = !given && !out.by_namespace && !door_profile.empty();
  out.by_default = !given && !out.by_namespace && !out.by_door;
  if (out.by_namespace || out.by_door) {
    const std::string_view name = out.by_namespace ? of_namespace : door_profile;
    const Profile* behind = profile(name);
    Profile nothing;
    nothing.name = name;
    give(behind != nullptr ? *behind : nothing);
  }
  const Profile& least = *profile(safe().name);
  if (out.by_default) give(least);
  if (principal.tpm_namespace && home == nullptr) give(least);
  out.profile = *std::move(narrowed);
  confine(out.profile, principal);
  return out;
}

void Policy::confine(Profile& profile, const Principal& principal) const {
  const Namespace* home = home_of(principal);
  if (home != nullptr && home->nv) change_sets(profile, "nv.", [&](const Numbers& set) { return set & *home->nv; });
  // Through a window there is nothing else. Whose numbers are the chip's finds the windows there.
  if (home != nullptr && home->window) {
    const Numbers numbers{
        {wire::kFirstPersistent, wire::kFirstPersistent + (home->window->last - home->window->first)}};
    return change_sets(profile, "persistent.", [&](const Numbers& set) { return set & numbers; });
  }
  if (profile.administer || windows_.empty()) return;
  change_sets(profile, "persistent.", [&](const Numbers& set) { return set - windows_; });
}

}  // namespace tpmspace::guard
