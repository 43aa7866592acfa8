#include "access/access_control.h"

#include <unistd.h>

#include <algorithm>

#include "books/view.h"
#include "guard/access.h"
#include "guard/start_and_exit.h"
#include "peer/principal_of_peer.h"
#include "wire/command_table.h"
#include "wire/handle.h"

namespace tpmspace::access {

namespace {

// An administrator of the lockout can undo the effects of wrong tries on other users.
bool administers_lockout(const guard::Profile& profile) {
  return profile.commands.contains(wire::cc::kDictionaryAttackLockReset) &&
         profile.hierarchies.contains(wire::kLockoutHandle);
}

// The listable things: readable things, and the commands that always get a response. Null: everything.
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

space::Pool pool_of(const guard::Quotas& quotas, peer::TenantNumber number) {
  if (quotas.sessions == guard::kUnlimited && quotas.objects == guard::kUnlimited && quotas.bytes == UINT64_MAX)
    return {};
  return {.id = pool_of(PoolOf::kNamespace, number),
          .sessions = quotas.sessions,
          .objects = quotas.objects,
          .bytes = quotas.bytes};
}

bool names_programs(const guard::Policy& policy) {
  const auto& rules = policy.rules();
  const auto& namespaces = policy.namespaces();
  return std::any_of(rules.begin(), rules.end(), [](const guard::Rule& one) { return one.names_program(); }) ||
         std::any_of(namespaces.begin(), namespaces.end(),
                     [](const guard::Namespace& one) { return one.members.names_program(); });
}

// An administrator may have this uid, and so may a container's root.
bool may_be_administrators(std::uint32_t uid) {
  return uid == 0 || uid == ::geteuid();
}

// The least of the quotas of all possible namespaces.
guard::Quotas least_quotas(const guard::Policy& policy, const std::vector<std::size_t>& homes) {
  guard::Quotas out;
  for (const auto place : homes) {
    const guard::Quotas& one = policy.namespaces()[place].quotas;
    out = {.connections = std::min(out.connections, one.connections),
           .sessions = std::min(out.sessions, one.sessions),
           .objects = std::min(out.objects, one.objects),
           .bytes = std::min(out.bytes, one.bytes)};
  }
  return out;
}

}  // namespace

AccessControl::AccessControl(std::shared_ptr<const guard::Policy> policy, std::vector<std::string> chips,
                             const space::SpaceLimits& most, std::uint64_t most_bytes, unsigned most_unread)
    : policy_(std::move(policy)),
      names_programs_(names_programs(*policy_)),
      chips_(std::move(chips)),
      most_(most),
      most_bytes_(most_bytes),
      most_unread_(most_unread),
      subordinates_(peer::SubordinateIds::of_this_machine()) {}

std::optional<ClientIdentity> AccessControl::admit(int socket, const guard::Entrance& entrance,
                                                   peer::SinceBoot accepted) {
  base::Fd process;
  auto peer = reader_.read_first(socket, accepted, process);
  if (!peer) return std::nullopt;
  std::shared_ptr<const UnreadProcess> unread;
  if (process && !names_programs_ && *unread_ < most_unread_)
    unread = std::make_shared<const UnreadProcess>(std::move(process), unread_);
  else if (process)
    peer->program = reader_.read_program(process);
  auto out = admit(peer::principal_of(*peer), entrance);
  if (out) out->process = std::move(unread);
  return out;
}

std::optional<ClientIdentity> AccessControl::admit(guard::Principal who, const guard::Entrance& entrance) {
  ClientIdentity out;
  out.who = std::move(who);
  out.entrance = entrance;
  const auto homes = policy_->homes_of(out.who, entrance.listener);
  const auto* home = homes.front();
  if (homes.size() == 1)
    out.who.tpm_namespace = home != nullptr ? guard::Known<std::string>(home->name) : guard::Known<std::string>::none();
  const auto holder = holder_of(out, homes);
  out.owner = holder.owner;
  out.part = holder.part;
  // A policy names only served chips: Reload::not_served. If the chip is in doubt, no right is given.
  if (!change_chip(out, guard::chip_of(entrance, home))) return std::nullopt;
  return out;
}

void AccessControl::read_program(ClientIdentity& identity) const {
  if (!identity.process) return;
  peer::set_program(identity.who, reader_.read_program(identity.process->descriptor()));
  identity.process.reset();
}

space::Holder AccessControl::holder_of(const ClientIdentity& identity,
                                       const std::vector<const guard::Namespace*>& homes) {
  const guard::Principal& who = identity.who;
  const std::uint32_t uid = subordinates_.holder_of(who.uid);
  const auto* home = homes.front();
  if (homes.size() > 1) return holder_in({Tenant::Kind::kUnknown}, false, uid);
  if (home != nullptr) return holder_in({Tenant::Kind::kNamespace, home->name}, home->separate_users, uid);
  if (!identity.entrance.profile.empty()) return holder_behind(identity.entrance, uid);
  const bool may_be_root = may_be_administrators(who.uid);
  if (who.is_unidentified || (may_be_root && who.is_native == guard::Match::kMaybe))
    return holder_in({Tenant::Kind::kUnknown}, false, uid);
  if (may_be_root && who.is_native == guard::Match::kNo) return holder_in({Tenant::Kind::kContainers}, false, uid);
  return holder_behind(identity.entrance, uid);
}

std::optional<space::OwnerId> AccessControl::owner_by_uid(std::uint32_t uid, const guard::Entrance& entrance) {
  const auto may_have_him = [&](const guard::Namespace& one) {
    const guard::Rule& members = one.members;
    return (!members.uids || members.uids->contains(uid)) &&
           (!members.listener || *members.listener == entrance.listener);
  };
  const auto& namespaces = policy_->namespaces();
  if (std::any_of(namespaces.begin(), namespaces.end(), may_have_him)) return std::nullopt;
  return holder_behind(entrance, subordinates_.holder_of(uid)).owner;
}

ClientIdentity AccessControl::stranger(const ucred& peer, const guard::Entrance& entrance) {
  static const auto kNothing = std::make_shared<const Permissions>();
  ClientIdentity out;
  out.who.uid = peer.uid;
  if (peer.pid > 0) out.who.pid = peer.pid;
  out.entrance = entrance;
  out.permissions = kNothing;
  return out;
}

space::Holder AccessControl::holder_in(const Tenant& tenant, bool separate_users, std::uint32_t uid) {
  const peer::TenantNumber number = number_of(tenant);
  return separate_users ? space::Holder{.owner = peer::owner_of(uid, number), .part = {}}
                        : peer::part_of_tenant(uid, number);
}

space::Holder AccessControl::holder_behind(const guard::Entrance& entrance, std::uint32_t uid) {
  if (entrance.profile.empty()) return {.owner = peer::owner_of(uid), .part = {}};
  return holder_in({Tenant::Kind::kListener, entrance.listener}, entrance.separate_users, uid);
}

void AccessControl::set_policy(std::shared_ptr<const guard::Policy> policy, peer::SubordinateIds subordinates) {
  policy_ = std::move(policy);
  names_programs_ = names_programs(*policy_);
  ++policies_;
  permissions_.clear();
  swept_.reset();
  subordinates_ = std::move(subordinates);
}

peer::TenantNumber AccessControl::number_of(const Tenant& tenant) {
  return tenants_.try_emplace(tenant, static_cast<peer::TenantNumber>(tenants_.size() + 1)).first->second;
}

std::vector<space::Holder> AccessControl::holders_of(std::uint32_t uid) const {
  std::vector<space::Holder> out = {{.owner = peer::owner_of(uid), .part = {}}};
  for (const auto& [unused, number] : tenants_) {
    out.push_back({.owner = peer::owner_of(uid, number), .part = {}});
    out.push_back(peer::part_of_tenant(uid, number));
  }
  return out;
}

std::optional<AccessControl::Tenant> AccessControl::tenant_of_owner(space::OwnerId owner) const {
  for (const auto& [tenant, number] : tenants_)
    if (number == peer::tenant_of(owner)) return tenant;
  return std::nullopt;
}

bool AccessControl::change_chip(ClientIdentity& identity, std::string_view name) {
  const auto found = std::find(chips_.begin(), chips_.end(), name);
  if (found == chips_.end()) return false;
  identity.chip = static_cast<std::size_t>(found - chips_.begin());
  identity.who.chip = *found;
  identity.permissions = permissions_for(identity);
  return true;
}

bool AccessControl::renew(ClientIdentity& identity) {
  if (identity.permissions->policy == policies_) return false;
  identity.permissions = permissions_for(identity);
  return true;
}

AccessControl::Narrowing AccessControl::narrow(ClientIdentity& identity, std::string_view name,
                                               std::uint64_t connection) {
  const guard::Profile* profile = policy_->profile(name);
  if (profile == nullptr) return Narrowing::kNoSuchProfile;
  if (identity.narrowings >= limits::kNarrowings) return Narrowing::kTooOften;
  ++identity.narrowings;
  identity.narrowed = std::make_shared<const guard::Profile>(
      identity.narrowed ? guard::narrow(*identity.narrowed, *profile) : *profile);
  identity.part.connection = connection;
  identity.permissions = permissions_for(identity);
  return Narrowing::kDone;
}

namespace {

// Alike as far as rules can distinguish openers.
bool are_alike(const Opener& one, const Opener& other) {
  guard::Principal same = one.who;
  same.pid = other.who.pid;
  return same == other.who && one.entrance.listener == other.entrance.listener &&
         one.entrance.profile == other.entrance.profile && one.entrance.locality == other.entrance.locality;
}

// Adds the opener, unless an opener like it is present.
void add(std::vector<Opener>& openers, const Opener& one) {
  const auto is_like = [&](const Opener& other) { return are_alike(one, other); };
  if (std::none_of(openers.begin(), openers.end(), is_like)) openers.push_back(one);
}

}  // namespace

bool AccessControl::join(ClientIdentity& identity, const ClientIdentity& opener) {
  if (identity.narrowed || opener.narrowed || identity.chip != opener.chip) return false;
  if (identity.who.tpm_namespace != opener.who.tpm_namespace || identity.entrance.listener != opener.entrance.listener)
    return false;
  auto openers = opener.openers;
  add(openers, {opener.who, opener.entrance});
  if (openers.size() > limits::kOpeners) return false;
  identity.openers = std::move(openers);
  identity.permissions = permissions_for(identity);
  return true;
}

std::shared_ptr<const Permissions> AccessControl::permissions_for(const ClientIdentity& identity) {
  auto choice = guard::choose(*policy_, identity.who, identity.entrance);
  const auto& name = identity.who.tpm_namespace.value();
  const auto* home = name ? policy_->namespace_named(*name) : nullptr;
  const auto quotas = home != nullptr ? home->quotas : least_quotas(*policy_, choice.homes);
  const auto may_be = owners_it_may_be(identity);
  const bool is_its_own = identity.narrowed || !identity.openers.empty();
  const auto make = [&] {
    guard::Profile& profile = choice.profile;
    const std::string given = profile.name;  // a connection that narrows itself leaves no pool
    for (const Opener& one : identity.openers)
      profile = guard::narrow(profile, guard::choose(*policy_, one.who, one.entrance).profile);
    if (identity.narrowed) profile = guard::narrow(profile, *identity.narrowed);
    if (is_its_own) policy_->confine(profile, identity.who, identity.entrance.listener);
    auto limits = limits_of(profile, given, identity.holder(), home, quotas);
    limits.may_be = may_be;
    return std::make_shared<const Permissions>(Permissions{std::move(choice), limits, quotas.connections, policies_});
  };
  if (is_its_own || !may_be.empty()) return make();

  const bool of_user = choice.profile.limits.bytes < most_bytes_;
  Rights rights{choice.rules,
                identity.entrance.profile,
                identity.entrance.locality,
                peer::tenant_of(identity.owner),
                of_user ? peer::user_of(identity.holder()) : space::OwnerId{},
                identity.chip,
                choice.homes,
                choice.in_doubt};
  if (auto shared = permissions_[rights].lock()) return shared;
  sweep_permissions();
  auto out = make();
  permissions_[std::move(rights)] = out;
  return out;
}

// Empty: the owner is certain.
std::vector<space::OwnerId> AccessControl::owners_it_may_be(const ClientIdentity& identity) {
  const auto tenant = tenant_of_owner(identity.owner);
  if (!tenant || tenant->kind != Tenant::Kind::kUnknown) return {};
  const std::uint32_t uid = subordinates_.holder_of(identity.who.uid);
  std::vector<space::OwnerId> out;
  for (const auto* home : policy_->homes_of(identity.who, identity.entrance.listener))
    out.push_back(home == nullptr ? holder_behind(identity.entrance, uid).owner
                                  : holder_in({Tenant::Kind::kNamespace, home->name}, home->separate_users, uid).owner);
  if (may_be_administrators(identity.who.uid)) out.push_back(holder_in({Tenant::Kind::kContainers}, false, uid).owner);
  return out;
}

// Checks two entries for each new entry, so that no client pays for all old entries.
void AccessControl::sweep_permissions() {
  for (int i = 0; i < 2 && !permissions_.empty(); ++i) {
    auto one = swept_ ? permissions_.upper_bound(*swept_) : permissions_.begin();
    if (one == permissions_.end()) one = permissions_.begin();
    swept_ = one->first;
    if (one->second.expired()) permissions_.erase(one);
  }
}

space::SpaceLimits AccessControl::limits_of(const guard::Profile& profile, const std::string& pool,
                                            const space::Holder& who, const guard::Namespace* home,
                                            const guard::Quotas& quotas) {
  space::SpaceLimits out = {.objects = std::min(most_.objects, profile.limits.objects),
                            .sessions = std::min(most_.sessions, profile.limits.sessions),
                            .terms = profile.terms,
                            .administers = profile.administer,
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
    out.pools[1] = {.id = pool_of(PoolOf::kUser, peer::user_of(who).value), .bytes = profile.limits.bytes};
  out.pools[2] = pool_of(quotas, peer::tenant_of(who.owner));
  return out;
}

}  // namespace tpmspace::access
