// From what the kernel says of a peer to what the guard's rules are about.
//
// Threads: functions of their arguments. What is not known stays so; the primary group is known also where the others
// are not.
#pragma once

#include "guard/principal.h"
#include "peer/peer_identity.h"

namespace tpmspace::peer {

[[nodiscard]] guard::Principal principal_of(const PeerIdentity& peer);
// With what its cgroups say. Without containers it is taken to be native.
void set_cgroups(guard::Principal& principal, const CgroupFacts& facts);
// What was read later.
void set_program(guard::Principal& principal, const PeerProgram& program);

}  // namespace tpmspace::peer
