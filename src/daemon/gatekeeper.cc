#include "daemon/gatekeeper.h"

#include <algorithm>

#include "daemon/config.h"
#include "daemon/policy_file.h"
#include "daemon/principal.h"
#include "space/view.h"
#include "wire/command_table.h"
#include "wire/handle.h"

namespace tpmspace::daemon {

namespace {

// He may undo what his wrong tries cost the others.
bool administers_lockout(const guard::Profile& profile) {
  return profile.commands.contains(wire::cc::kDictionaryAttackLockReset) &&
         profile.hierarchies.contains(wire::kLockoutHandle);
}

// What may be listed: what may be looked at. Null: everything.
std::shared_ptr<const space::View> view_of(const guard::Profile& profile) {
  space::View out{.commands = profile.commands,
                  .persistent = profile.persistent_public,
                  .nv = profile.nv_public,
                  .pcrs = profile.pcr_read};
  const auto everything = wire::Numbers::all();
  if (out.commands == everything && out.persistent == everything && out.nv == everything && out.pcrs == everything)
    return nullptr;
  return std::make_shared<const space::View>(std::move(out));
}

}  // namespace

Gatekeeper::Gatekeeper(std::shared_ptr<const guard::Policy> policy, const space::SpaceLimits& most,
                       std::uint64_t most_bytes)
    : policy_(std::move(policy)),
      most_(most),
      most_bytes_(most_bytes),
      subordinates_(SubordinateIds::of_this_machine()) {}

std::optional<Badge> Gatekeeper::admit(int socket, const Entrance& entrance, SinceBoot accepted) {
  auto identity = reader_.read(socket, accepted);
  if (!identity) return std::nullopt;
  Badge out;
  out.owner = owner_of(subordinates_.holder_of(identity->uid));
  out.who = principal_of(*identity);
  out.entrance = entrance;
  out.grant = grant_for(out);
  return out;
}

void Gatekeeper::set_policy(std::shared_ptr<const guard::Policy> policy) {
  policy_ = std::move(policy);
  ++policies_;
  grants_.clear();
  subordinates_ = SubordinateIds::of_this_machine();
}

bool Gatekeeper::renew(Badge& badge) {
  if (badge.grant->policy == policies_) return false;
  badge.grant = grant_for(badge);
  return true;
}

bool Gatekeeper::narrow(Badge& badge, std::string_view name, std::uint64_t seclusion) {
  const guard::Profile* profile = policy_->profile(name);
  if (profile == nullptr || badge.narrowings >= limits::kNarrowings) return false;
  ++badge.narrowings;
  badge.narrowed =
      std::make_shared<const guard::Profile>(badge.narrowed ? guard::narrow(*badge.narrowed, *profile) : *profile);
  badge.seclusion = seclusion;
  badge.grant = grant_for(badge);
  return true;
}

std::shared_ptr<const Grant> Gatekeeper::grant_for(const Badge& badge) {
  auto choice = choose(*policy_, badge.who, badge.entrance);
  const auto make = [&] {
    guard::Profile& profile = choice.profile;
    const std::string given = profile.name;  // whoever narrows himself leaves no pool
    if (badge.narrowed) profile = guard::narrow(profile, *badge.narrowed);
    auto limits = limits_of(profile, given, badge.owner);
    limits.seclusion = badge.seclusion;
    return std::make_shared<const Grant>(Grant{std::move(choice), limits, policies_});
  };
  if (badge.narrowed) return make();

  const bool of_owner = choice.profile.limits.bytes < most_bytes_;
  Rights rights{choice.rules, badge.entrance.profile, badge.entrance.locality,
                of_owner ? badge.owner : space::OwnerId{}};
  if (auto shared = grants_[rights].lock()) return shared;
  std::erase_if(grants_, [](const auto& one) { return one.second.expired(); });
  auto out = make();
  grants_[std::move(rights)] = out;
  return out;
}

space::SpaceLimits Gatekeeper::limits_of(const guard::Profile& profile, const std::string& pool, space::OwnerId owner) {
  space::SpaceLimits out = {.objects = std::min(most_.objects, profile.limits.objects),
                            .sessions = std::min(most_.sessions, profile.limits.sessions),
                            .terms = session_terms(profile.terms),
                            .shares_tries = !administers_lockout(profile),
                            .share = profile.limits.share,
                            .priority = profile.limits.priority,
                            .view = view_of(profile)};
  // Numbers of pools: even ones are profiles', odd ones owners'.
  if (profile.terms.lease == space::SessionTerms::kEndless) {
    const auto [known, unused] = endless_.try_emplace(pool, endless_.size() + 1);
    out.pools[0] = {.id = {2 * known->second}, .sessions = profile.limits.endless_sessions};
  }
  if (profile.limits.bytes < most_bytes_) out.pools[1] = {.id = {2 * owner.value + 1}, .bytes = profile.limits.bytes};
  return out;
}

}  // namespace tpmspace::daemon
