#include "guard/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "guard/shipped.h"
#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

// Applies `change` to each set of that kind of entity: "nv.".
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
  for (const Rule& rule : out.rules_)
    if (rule.native && rule.uids) out.administrators_ = out.administrators_ | *rule.uids;
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
  out.native = true;
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

const Namespace* Policy::namespace_named(std::string_view name) const {
  const auto found =
      std::find_if(namespaces_.begin(), namespaces_.end(), [&](const Namespace& one) { return one.name == name; });
  return found != namespaces_.end() ? &*found : nullptr;
}

bool Policy::is_known_administrator(const Principal& principal) const {
  return principal.is_native == Match::kYes && administrators_.contains(principal.uid);
}

std::vector<const Namespace*> Policy::homes_of(const Principal& principal, std::string_view listener) const {
  if (principal.tpm_namespace.is_known()) {
    const auto& name = principal.tpm_namespace.value();
    return {name ? namespace_named(*name) : nullptr};
  }
  const Match unreadable = is_known_administrator(principal) ? Match::kNo : Match::kMaybe;
  std::vector<const Namespace*> out;
  for (const Namespace& one : namespaces_) {
    const Match match = one.members.matches(principal, listener, unreadable);
    if (match == Match::kNo) continue;
    out.push_back(&one);
    if (match == Match::kYes) return out;
  }
  out.push_back(nullptr);
  return out;
}

Choice Policy::choose(const Principal& principal, std::string_view listener, std::string_view listener_profile) const {
  const auto homes = homes_of(principal, listener);
  Choice out;
  if (homes.size() == 1) {
    out.profile = profile_in(homes[0], principal, listener, listener_profile, out);
  } else {
    out.in_doubt = true;
    Principal there = principal;
    std::optional<Profile> least;
    for (const Namespace* home : homes) {
      if (home != nullptr) out.homes.push_back(static_cast<std::size_t>(home - namespaces_.data()));
      there.tpm_namespace = home != nullptr ? Known<std::string>(home->name) : Known<std::string>::none();
      auto got = profile_in(home, there, listener, listener_profile, out);
      least = least ? narrow(*least, got) : std::move(got);
    }
    out.profile = *std::move(least);
  }
  // For the listener's profile, only the listener has to be known.
  const bool is_listeners = out.by_listener && !out.in_doubt;
  out.in_doubt = out.in_doubt || principal.is_unidentified;
  const bool is_left_over = principal.tpm_namespace.value() && homes[0] == nullptr;
  if ((out.in_doubt && !is_listeners) || is_left_over) out.profile = narrow(out.profile, *profile(safe().name));
  confine(out.profile, principal, listener);
  return out;
}

Profile Policy::profile_in(const Namespace* home, const Principal& principal, std::string_view listener,
                           std::string_view listener_profile, Choice& choice) const {
  const std::string_view of_namespace = home != nullptr && home->profile ? std::string_view(*home->profile) : "";
  const bool is_placed = home != nullptr && home->members.names_place();
  const Match unreadable = is_known_administrator(principal) ? Match::kNo : Match::kMaybe;
  std::optional<Profile> narrowed;
  const auto give = [&](const Profile& profile) { narrowed = narrowed ? narrow(*narrowed, profile) : profile; };

  bool given = false;
  for (std::size_t i = 0; i < rules_.size() && !given; ++i) {
    const Rule& rule = rules_[i];
    if (rule.line == 0 && (is_placed || !of_namespace.empty() || !listener_profile.empty())) break;
    const Match match = rule.matches(principal, listener, unreadable);
    if (match == Match::kNo) continue;
    if (std::find(choice.rules.begin(), choice.rules.end(), i) == choice.rules.end()) choice.rules.push_back(i);
    give(*profile(rule.profile));
    narrowed->disabled = narrowed->disabled | rule.disabled;
    given = match == Match::kYes && !rule.only_narrows();
    choice.in_doubt = choice.in_doubt || (match == Match::kMaybe && !rule.only_narrows());
  }
  if (given) return *std::move(narrowed);
  if (!of_namespace.empty() || !listener_profile.empty()) {
    (of_namespace.empty() ? choice.by_listener : choice.by_namespace) = true;
    const std::string_view name = of_namespace.empty() ? listener_profile : of_namespace;
    const Profile* behind = profile(name);
    Profile nothing;
    nothing.name = name;
    give(behind != nullptr ? *behind : nothing);
  } else {
    choice.by_default = true;
    give(*profile(safe().name));
  }
  return *std::move(narrowed);
}

void Policy::confine(Profile& profile, const Principal& principal, std::string_view listener) const {
  const auto homes = homes_of(principal, listener);
  bool has_window = false;
  for (const Namespace* home : homes) {
    if (home != nullptr && home->nv) change_sets(profile, "nv.", [&](const Numbers& set) { return set & *home->nv; });
    has_window = has_window || (home != nullptr && home->window);
  }
  // If a client may or may not have a window, the client gets neither the window's handles nor the handles outside.
  if (has_window && homes.size() > 1)
    return change_sets(profile, "persistent.", [](const Numbers&) { return Numbers(); });
  // Through a window no other persistent handles exist.
  if (has_window) {
    const auto [first, last] = *homes[0]->window;
    const Numbers numbers{{wire::kFirstPersistent, wire::kFirstPersistent + (last - first)}};
    return change_sets(profile, "persistent.", [&](const Numbers& set) { return set & numbers; });
  }
  // A client with the chip's own handle numbers sees the windows at their real place.
  if (profile.administer || windows_.empty()) return;
  change_sets(profile, "persistent.", [&](const Numbers& set) { return set - windows_; });
}

}  // namespace tpmspace::guard
