// The meaning of owner numbers: a user in a tenant. A tenant is a TPM namespace, or a listener with a profile of its
// own (made for users whose root is not the machine's root), or the outside of all tenants.
//
// Idea: the rooms below only compare owners. One user in two tenants is two owners, so the user's saved contexts,
// shares and turns are separate in each tenant. All users of a tenant are one owner together: a container's root can
// become any user of the container, and a share for each user would give root as many shares as it wants. Each user's
// saved contexts are hidden from the other users: each user is a part of the owner. If users are people
// (`separate_users`), each user is an owner, as outside of all tenants. docs/decisions/0012.
// Tenants get numbers by their names, for the daemon's lifetime (AccessControl); 0 is outside.
// Threads: functions of their arguments.
// Units: owner = (uid + 1) + (tenant << 32), for all users together with the uid that no user has; a part's user = uid
// + 1; owner 0 belongs to no user.
#pragma once

#include <cstdint>

#include "books/owner.h"

namespace tpmspace::peer {

using TenantNumber = std::uint32_t;

[[nodiscard]] inline space::OwnerId owner_of(std::uint32_t uid, TenantNumber in = 0) {
  return {(std::uint64_t{in} << 32U) + uid + 1};
}
[[nodiscard]] inline TenantNumber tenant_of(space::OwnerId owner) {
  return static_cast<TenantNumber>((owner.value - 1) >> 32U);
}

// The uid that no user has: setuid takes the value for "none".
inline constexpr std::uint32_t kAllTogether = UINT32_MAX;
// One user of a tenant whose users pay together.
[[nodiscard]] inline space::Holder part_of_tenant(std::uint32_t uid, TenantNumber in) {
  return {.owner = owner_of(kAllTogether, in), .part = {.user = std::uint64_t{uid} + 1, .connection = 0}};
}
[[nodiscard]] inline std::uint32_t uid_of(const space::Holder& who) {
  return static_cast<std::uint32_t>((who.part.user != 0 ? who.part.user : who.owner.value) - 1);
}
// An owner number unique to the user, different from every shared owner: for limits of each user.
[[nodiscard]] inline space::OwnerId user_of(const space::Holder& who) {
  return owner_of(uid_of(who), tenant_of(who.owner));
}

}  // namespace tpmspace::peer
