// What the numbers of owners stand for: a user, and the TPM namespace that he is in; or the door that he came by, if it
// has a profile of its own: it was made for somebody, whose root is not the machine's root.
//
// Idea: the rooms below compare owners and know no more. One user in two namespaces is two owners, so what he saves,
// his shares and his turns are each namespace's own. Namespaces have numbers by their names, for as long as the daemon
// runs (Gatekeeper); 0 is outside of all. Threads: functions of their arguments. Units: owner = (uid + 1) + (namespace
// << 32); owner 0 is nobody's.
#pragma once

#include <cstdint>

#include "space/owner.h"

namespace tpmspace::daemon {

using NamespaceNumber = std::uint32_t;

[[nodiscard]] inline space::OwnerId owner_of(std::uint32_t uid, NamespaceNumber in = 0) {
  return {(std::uint64_t{in} << 32U) + uid + 1};
}
[[nodiscard]] inline std::uint32_t uid_of(space::OwnerId owner) {
  return static_cast<std::uint32_t>(owner.value - 1);
}
[[nodiscard]] inline NamespaceNumber namespace_number_of(space::OwnerId owner) {
  return static_cast<NamespaceNumber>((owner.value - 1) >> 32U);
}

}  // namespace tpmspace::daemon
