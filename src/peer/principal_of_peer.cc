#include "peer/principal_of_peer.h"

namespace tpmspace::peer {

using guard::Match;

guard::Principal principal_of(const PeerIdentity& peer) {
  guard::Principal out;
  out.uid = peer.uid;
  out.gids.push_back(peer.gid);
  if (peer.groups) out.gids.insert(out.gids.end(), peer.groups->begin(), peer.groups->end());
  out.all_gids = peer.groups.has_value();
  out.pid = peer.pid;
  set_cgroups(out, peer.cgroups);
  // A process in a container is not native, whatever its user namespace.
  if (out.is_native != Match::kNo) out.is_native = out.is_native & peer.is_in_our_user_namespace;
  // If no other process is visible, only the uid decides: docs/identity.md.
  if (peer.sight == Sight::kHidden) out.is_native = Match::kYes;
  out.lsm_label = peer.label;
  out.is_unidentified = peer.sight == Sight::kGone || peer.is_nobody;
  set_program(out, peer.program);
  return out;
}

void set_cgroups(guard::Principal& principal, const CgroupFacts& facts) {
  principal.cgroup = facts.cgroup;
  principal.unit = facts.unit;
  principal.container = facts.container;
  principal.pod = facts.pod;
  principal.is_native =
      facts.is_contained == Match::kMaybe ? Match::kMaybe : guard::match_if(facts.is_contained == Match::kNo);
}

void set_program(guard::Principal& principal, const PeerProgram& program) {
  principal.executable = program.executable;
  principal.user_namespace = program.user_namespace;
  principal.mount_namespace = program.mount_namespace;
}

}  // namespace tpmspace::peer
