#include "daemon/principal.h"

#include "daemon/cgroup_names.h"

namespace tpmspace::daemon {

guard::Principal principal_of(const PeerIdentity& peer) {
  guard::Principal out;
  out.uid = peer.uid;
  out.gids.emplace(1, peer.gid);
  if (peer.groups) out.gids->insert(out.gids->end(), peer.groups->begin(), peer.groups->end());
  out.pid = peer.pid;
  out.executable = peer.executable;
  out.cgroup = peer.cgroup;
  if (peer.cgroup) {
    CgroupNames names = names_in_cgroup(*peer.cgroup);
    out.unit = std::move(names.unit);
    out.container = std::move(names.container);
    out.pod = std::move(names.pod);
  }
  out.user_namespace = peer.user_namespace;
  out.mount_namespace = peer.mount_namespace;
  out.lsm_label = peer.label;
  return out;
}

}  // namespace tpmspace::daemon
