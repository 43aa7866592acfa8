#include "daemon/gatekeeper.h"

#include <algorithm>

#include "daemon/config.h"
#include "daemon/policy_file.h"
#include "daemon/principal.h"
#include "guard/start_and_exit.h"
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

// What may be listed: what may be looked at, and the commands that are always answered. Null: everything.
std::shared_ptr<const space::View> view_of(const guard::Profile& profile, const guard::Namespace* home) {
  space::View out{.commands = profile.commands | guard::commands_of_everybody(),
                  .persistent = profile.persistent_public,
                  .nv = profile.nv_public,
                  .pcrs = profile.pcr_read,
                  .persistent_base = home != nullptr && home->window ? home->window->first : 0};
  const auto everything = wire::Numbers::all();
  if (out == space::View{.commands = everything, .persistent = everything, .nv = everything, .pcrs = everything})
    return nullptr;
  return std::make_shared<const space::View>(std::move(out));
}

// Null: all.
std::shared_ptr<const wire::Numbers> pins_of(const guard::Profile& profile) {
  if (profile.nv_pin == wire::Numbers::all()) return nullptr;
  return std::make_shared<const wire::Numbers>(profile.nv_pin);
}

enum class PoolOf : std::uint64_t { kProfile = 1, kUser = 2, kNamespace = 3 };
space::PoolId pool_of(PoolOf kind, std::uint64_t number) {
  return {number << 2U | static_cast<std::uint64_t>(kind)};
}

space::Pool pool_of(const guard::Quotas& quotas, RealmNumber number) {
  if (quotas.sessions == guard::kUnlimited && quotas.objects == guard::kUnlimited && quotas.bytes == UINT64_MAX)
    return {};
  return {.id = pool_of(PoolOf::kNamespace, number),
          .sessions = quotas.sessions,
          .objects = quotas.objects,
          .bytes = quotas.bytes};
}

}  // namespace

Gatekeeper::Gatekeeper(std::shared_ptr<const guard::Policy> policy, std::vector<std::string> chips,
                       const space::SpaceLimits& most, std::uint64_t most_bytes)
    : policy_(std::move(policy)),
      chips_(std::move(chips)),
      most_(most),
      most_bytes_(most_bytes),
      subordinates_(SubordinateIds::of_this_machine()) {}

std::optional<Badge> Gatekeeper::admit(int socket, const Entrance& entrance, SinceBoot accepted) {
  auto identity = reader_.read(socket, accepted);
  if (!identity) return std::nullopt;
  Badge out;
  out.who = principal_of(*identity);
  out.entrance = entrance;
  const auto* home = policy_->namespace_of(out.who, entrance.door);
  if (home != nullptr) out.who.tpm_namespace = home->name;
  const std::uint32_t uid = subordinates_.holder_of(identity->uid);
  const auto holder = home != nullptr ? holder_in({Realm::Kind::kNamespace, home->name}, home->separate_users, uid)
                                      : holder_behind(entrance, uid);
  out.owner = holder.owner;
  out.part = holder.part;
  // A policy names no other chips than are served: Server::not_served.
  if (!change_chip(out, chip_of(entrance, home))) return std::nullopt;
  return out;
}

std::optional<space::OwnerId> Gatekeeper::owner_by_uid(std::uint32_t uid, const Entrance& entrance) {
  const auto may_have_him = [&](const guard::Namespace& one) {
    const guard::Rule& members = one.members;
    return (!members.uids || members.uids->contains(uid)) && (!members.door || *members.door == entrance.door);
  };
  const auto& namespaces = policy_->namespaces();
  if (std::any_of(namespaces.begin(), namespaces.end(), may_have_him)) return std::nullopt;
  return holder_behind(entrance, subordinates_.holder_of(uid)).owner;
}

Badge Gatekeeper::stranger(const ucred& peer, const Entrance& entrance) {
  static const auto kNothing = std::make_shared<const Grant>();
  Badge out;
  out.who.uid = peer.uid;
  if (peer.pid > 0) out.who.pid = peer.pid;
  out.entrance = entrance;
  out.grant = kNothing;
  return out;
}

space::Holder Gatekeeper::holder_in(const Realm& realm, bool separate_users, std::uint32_t uid) {
  const RealmNumber number = number_of(realm);
  return separate_users ? space::Holder{.owner = owner_of(uid, number), .part = {}} : part_of_realm(uid, number);
}

space::Holder Gatekeeper::holder_behind(const Entrance& entrance, std::uint32_t uid) {
  if (entrance.profile.empty()) return {.owner = owner_of(uid), .part = {}};
  return holder_in({Realm::Kind::kDoor, entrance.door}, entrance.separate_users, uid);
}

void Gatekeeper::set_policy(std::shared_ptr<const guard::Policy> policy, SubordinateIds subordinates) {
  policy_ = std::move(policy);
  ++policies_;
  grants_.clear();
  subordinates_ = std::move(subordinates);
}

RealmNumber Gatekeeper::number_of(const Realm& realm) {
  return realms_.try_emplace(realm, static_cast<RealmNumber>(realms_.size() + 1)).first->second;
}

std::vector<space::Holder> Gatekeeper::holders_of(std::uint32_t uid) const {
  std::vector<space::Holder> out = {{.owner = owner_of(uid), .part = {}}};
  for (const auto& [unused, number] : realms_) {
    out.push_back({.owner = owner_of(uid, number), .part = {}});
    out.push_back(part_of_realm(uid, number));
  }
  return out;
}

std::optional<Gatekeeper::Realm> Gatekeeper::realm_of_owner(space::OwnerId owner) const {
  for (const auto& [realm, number] : realms_)
    if (number == realm_of(owner)) return realm;
  return std::nullopt;
}

bool Gatekeeper::change_chip(Badge& badge, std::string_view name) {
  const auto found = std::find(chips_.begin(), chips_.end(), name);
  if (found == chips_.end()) return false;
  badge.chip = static_cast<std::size_t>(found - chips_.begin());
  badge.who.chip = *found;
  badge.grant = grant_for(badge);
  return true;
}

bool Gatekeeper::renew(Badge& badge) {
  if (badge.grant->policy == policies_) return false;
  badge.grant = grant_for(badge);
  return true;
}

Gatekeeper::Narrowing Gatekeeper::narrow(Badge& badge, std::string_view name, std::uint64_t connection) {
  const guard::Profile* profile = policy_->profile(name);
  if (profile == nullptr) return Narrowing::kNoSuchProfile;
  if (badge.narrowings >= limits::kNarrowings) return Narrowing::kTooOften;
  ++badge.narrowings;
  badge.narrowed =
      std::make_shared<const guard::Profile>(badge.narrowed ? guard::narrow(*badge.narrowed, *profile) : *profile);
  badge.part.connection = connection;
  badge.grant = grant_for(badge);
  return Narrowing::kDone;
}

std::shared_ptr<const Grant> Gatekeeper::grant_for(const Badge& badge) {
  auto choice = choose(*policy_, badge.who, badge.entrance);
  const auto* home = badge.who.tpm_namespace ? policy_->namespace_named(*badge.who.tpm_namespace) : nullptr;
  const auto make = [&] {
    guard::Profile& profile = choice.profile;
    const std::string given = profile.name;  // whoever narrows himself leaves no pool
    if (badge.narrowed) {
      profile = guard::narrow(profile, *badge.narrowed);
      policy_->confine(profile, badge.who);
    }
    const auto limits = limits_of(profile, given, badge.holder(), home);
    const auto connections = home != nullptr ? home->quotas.connections : guard::kUnlimited;
    return std::make_shared<const Grant>(Grant{std::move(choice), limits, connections, policies_});
  };
  if (badge.narrowed) return make();

  const bool of_user = choice.profile.limits.bytes < most_bytes_;
  Rights rights{choice.rules,
                badge.entrance.profile,
                badge.entrance.locality,
                realm_of(badge.owner),
                of_user ? user_of(badge.holder()) : space::OwnerId{},
                badge.chip};
  if (auto shared = grants_[rights].lock()) return shared;
  std::erase_if(grants_, [](const auto& one) { return one.second.expired(); });
  auto out = make();
  grants_[std::move(rights)] = out;
  return out;
}

space::SpaceLimits Gatekeeper::limits_of(const guard::Profile& profile, const std::string& pool,
                                         const space::Holder& who, const guard::Namespace* home) {
  space::SpaceLimits out = {.objects = std::min(most_.objects, profile.limits.objects),
                            .sessions = std::min(most_.sessions, profile.limits.sessions),
                            .terms = session_terms(profile.terms),
                            .shares_tries = !administers_lockout(profile),
                            .share = profile.limits.share,
                            .priority = profile.limits.priority,
                            .view = view_of(profile, home),
                            .pins = pins_of(profile)};
  if (profile.terms.lease == space::SessionTerms::kEndless) {
    const auto [known, unused] = endless_.try_emplace(pool, endless_.size() + 1);
    out.pools[0] = {.id = pool_of(PoolOf::kProfile, known->second), .sessions = profile.limits.endless_sessions};
  }
  if (profile.limits.bytes < most_bytes_)
    out.pools[1] = {.id = pool_of(PoolOf::kUser, user_of(who).value), .bytes = profile.limits.bytes};
  if (home != nullptr) out.pools[2] = pool_of(home->quotas, realm_of(who.owner));
  return out;
}

}  // namespace tpmspace::daemon
