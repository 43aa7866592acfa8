// From what the kernel says of a peer to what the guard's rules are about.
//
// Threads: a function of its argument. What is not known stays so; the primary group is known also where the others are
// not.
#pragma once

#include "daemon/peer_identity.h"
#include "guard/principal.h"

namespace tpmspace::daemon {

[[nodiscard]] guard::Principal principal_of(const PeerIdentity& peer);

}  // namespace tpmspace::daemon
