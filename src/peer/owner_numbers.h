// What the numbers of owners stand for: a user in a tenant. A tenant is a TPM namespace; or a listener that has a
// profile of its own, since that was made for somebody, whose root is not the machine's root; or outside of all.
//
// Idea: the rooms below compare owners and know no more. One user in two tenants is two owners, so what he saves, his
// shares and his turns are each tenant's own. All users of a tenant are one owner together: a container's root becomes
// whomever he likes, and if each of them had a share he would have as many as he wants. What one of them saved is for
// none of the others: each is a part of that owner. Where users are people (`separate_users`) each is an owner, as
// outside of all tenants. docs/decisions/0012.
// Tenants have numbers by their names, for as long as the daemon runs (AccessControl); 0 is outside.
// Threads: functions of their arguments. Units: owner = (uid + 1) + (tenant << 32), for all together with the uid that
// nobody has; a part's user = uid + 1; owner 0 is nobody's.
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

// The uid that nobody has: setuid takes it for "none".
inline constexpr std::uint32_t kAllTogether = UINT32_MAX;
// One user of a tenant where all pay together.
[[nodiscard]] inline space::Holder part_of_tenant(std::uint32_t uid, TenantNumber in) {
  return {.owner = owner_of(kAllTogether, in), .part = {.user = std::uint64_t{uid} + 1, .connection = 0}};
}
[[nodiscard]] inline std::uint32_t uid_of(const space::Holder& who) {
  return static_cast<std::uint32_t>((who.part.user != 0 ? who.part.user : who.owner.value) - 1);
}
// As a number that no other user, and no owner who is several, has: for limits of each user.
[[nodiscard]] inline space::OwnerId user_of(const space::Holder& who) {
  return owner_of(uid_of(who), tenant_of(who.owner));
}

}  // namespace tpmspace::peer
