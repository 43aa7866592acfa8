// The identity of a process by its cgroups: systemd unit, container, pod; and whether the process is in any container.
//
// Idea: only the outermost part of the path is read, which root's programs named (systemd, a container engine). Below a
// unit or a container its owner may name cgroups freely: app.slice/nginx.service below user@1000.service is
// user@1000.service, and no nginx.service. So a container in a container is the outer one, and a container of a user
// without privileges (rootless) is none; rules for such containers name the path.
// Where there is no cgroup v2, or it is mounted and not used ("/"), systemd's own hierarchy of v1 says the path. A
// container or pod may stand in any hierarchy: on a machine with v1 an engine may use only some.
// Whether a process is in a container asks for less certainty and more care: every part of each path counts that the
// daemon is not in itself, and every name that an engine is known to give. This takes rights away and gives none.
// Threads: functions of their arguments. Errors: unknown facts are values (guard/known.h).
// Source: systemd.slice(5), and the engines' behaviour; the tests have a path of each engine.
//
//   /system.slice/nginx.service                         unit nginx.service
//   /system.slice/docker-<id>.scope                     unit docker-<id>.scope, container <id>; likewise
//                                                       cri-containerd-, crio-, libpod-, nerdctl-
//   /kubepods.slice/kubepods-pod<uid>.slice/crio-...    likewise, and pod <uid>
//   /docker/<id>  /libpod_parent/libpod-<id>            container <id>: engines without systemd
//   /kubepods/burstable/pod<uid>/<id>                   container <id>, pod <uid>
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guard/known.h"
#include "peer/proc_text.h"

namespace tpmspace::peer {

struct CgroupNames {
  std::optional<std::string> unit = std::nullopt;       // a unit of the system's systemd; slices do not count
  std::optional<std::string> container = std::nullopt;  // 64 hexadecimal digits
  std::optional<std::string> pod = std::nullopt;        // pod uid as Kubernetes writes it: with dashes
  bool operator==(const CgroupNames&) const = default;
};
// `path` as /proc/PID/cgroup has it: "/system.slice/nginx.service".
[[nodiscard]] CgroupNames names_in_cgroup(std::string_view path);

struct CgroupFacts {
  guard::Known<std::string> cgroup = {}, unit = {}, container = {}, pod = {};
  // In a container that the daemon is not in. The certainty of yes and no depends on the known engine names.
  guard::Match is_contained = guard::Match::kMaybe;
  bool operator==(const CgroupFacts&) const = default;
};
// `theirs`: the paths of the process, as the daemon sees them; `ours`: the daemon's paths.
[[nodiscard]] CgroupFacts facts_of(const std::vector<CgroupPath>& theirs, const std::vector<CgroupPath>& ours);
// For a process of which only the path in the main hierarchy is given.
[[nodiscard]] CgroupFacts facts_of(const guard::Known<std::string>& path);

}  // namespace tpmspace::peer
