#include "daemon/gatekeeper.h"

#include <algorithm>

#include "space/view.h"
#include "wire/command_table.h"
#include "wire/handle.h"

namespace tpmspace::daemon {

guard::Principal principal_of(PeerIdentity identity) {
  guard::Principal out;
  out.uid = identity.uid;
  if (identity.groups) {
    out.gids.emplace(identity.groups->begin(), identity.groups->end());
    out.gids->push_back(identity.gid);
  }
  out.pid = identity.pid;
  out.executable = std::move(identity.executable);
  out.cgroup = std::move(identity.cgroup);
  out.user_namespace = identity.user_namespace;
  out.mount_namespace = identity.mount_namespace;
  out.lsm_label = std::move(identity.label);
  return out;
}

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

space::SessionTerms terms_of(const guard::SessionTerms& terms) {
  const auto exhaustion = [&] {
    switch (terms.exhaustion) {
      case guard::Exhaustion::kRefuse:
        return space::Exhaustion::kRefuse;
      case guard::Exhaustion::kClose:
        return space::Exhaustion::kClose;
      case guard::Exhaustion::kWait:
        return space::Exhaustion::kWait;
      case guard::Exhaustion::kReclaim:
        return space::Exhaustion::kReclaim;
    }
    return space::Exhaustion::kRefuse;
  };
  return {.claim = terms.claim,
          .lease = terms.lease,
          .tenure = terms.tenure,
          .deadline = terms.deadline,
          .exhaustion = exhaustion()};
}

Gatekeeper::Gatekeeper(std::shared_ptr<const guard::Policy> policy, const space::SpaceLimits& most)
    : policy_(std::move(policy)), most_(most), subordinates_(SubordinateIds::of_this_machine()) {}

std::optional<Badge> Gatekeeper::admit(int socket, const Entrance& entrance, SinceBoot accepted) {
  auto identity = reader_.read(socket, accepted);
  if (!identity) return std::nullopt;
  Badge out;
  out.owner = owner_of(subordinates_.holder_of(identity->uid));
  out.who = principal_of(std::move(*identity));
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
  if (profile == nullptr) return false;
  badge.narrowed =
      std::make_shared<const guard::Profile>(badge.narrowed ? guard::narrow(*badge.narrowed, *profile) : *profile);
  badge.seclusion = seclusion;
  badge.grant = grant_for(badge);
  return true;
}

std::shared_ptr<const Grant> Gatekeeper::grant_for(const Badge& badge) {
  auto choice = policy_->choose(badge.who, badge.entrance.door);
  const auto make = [&] {
    guard::Profile& profile = choice.profile;
    if (badge.entrance.locality) profile.localities = wire::Numbers::one(*badge.entrance.locality);
    if (badge.narrowed) profile = guard::narrow(profile, *badge.narrowed);
    auto limits = limits_of(profile);
    limits.seclusion = badge.seclusion;
    return std::make_shared<const Grant>(Grant{std::move(choice), limits, policies_});
  };
  if (badge.narrowed) return make();

  Rights rights{choice.rules, badge.entrance.locality};
  if (auto shared = grants_[rights].lock()) return shared;
  std::erase_if(grants_, [](const auto& one) { return one.second.expired(); });
  auto out = make();
  grants_[std::move(rights)] = out;
  return out;
}

space::SpaceLimits Gatekeeper::limits_of(const guard::Profile& profile) const {
  return {.objects = std::min(most_.objects, profile.limits.objects),
          .sessions = std::min(most_.sessions, profile.limits.sessions),
          .terms = terms_of(profile.terms),
          .shares_tries = !administers_lockout(profile),
          .view = view_of(profile)};
}

}  // namespace tpmspace::daemon
