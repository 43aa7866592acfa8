// What the numbers of owners stand for: a user in a realm. A realm is a TPM namespace; or a door that has a profile of
// its own, since that was made for somebody, whose root is not the machine's root; or outside of all.
//
// Idea: the rooms below compare owners and know no more. One user in two realms is two owners, so what he saves, his
// shares and his turns are each realm's own. Realms have numbers by their names, for as long as the daemon runs
// (Gatekeeper); 0 is outside.
// Threads: functions of their arguments. Units: owner = (uid + 1) + (realm << 32); owner 0 is nobody's.
#pragma once

#include <cstdint>

#include "space/owner.h"

namespace tpmspace::daemon {

using RealmNumber = std::uint32_t;

[[nodiscard]] inline space::OwnerId owner_of(std::uint32_t uid, RealmNumber in = 0) {
  return {(std::uint64_t{in} << 32U) + uid + 1};
}
[[nodiscard]] inline std::uint32_t uid_of(space::OwnerId owner) {
  return static_cast<std::uint32_t>(owner.value - 1);
}
[[nodiscard]] inline RealmNumber realm_of(space::OwnerId owner) {
  return static_cast<RealmNumber>((owner.value - 1) >> 32U);
}

}  // namespace tpmspace::daemon
