// Converts the kernel's facts on a peer into the attributes of the guard's rules.
//
// Threads: functions of their arguments. Unknown facts stay unknown; the primary group is known even if the
// supplementary groups are not.
#pragma once

#include "guard/principal.h"
#include "peer/peer_identity.h"

namespace tpmspace::peer {

[[nodiscard]] guard::Principal principal_of(const PeerIdentity& peer);
// Adds the facts from the cgroups. A principal outside containers is set to native.
void set_cgroups(guard::Principal& principal, const CgroupFacts& facts);
// Adds the program, which is read later.
void set_program(guard::Principal& principal, const PeerProgram& program);

}  // namespace tpmspace::peer
