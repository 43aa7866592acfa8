// Who a cgroup path says somebody is: a systemd unit, a container, a pod.
//
// Idea: only the outermost part of the path is read, which root's programs named (systemd, a container engine). Below a
// unit or a container its owner may name cgroups as he likes: app.slice/nginx.service below user@1000.service is
// user@1000.service, and no nginx.service. So a container in a container is the outer one, and a container of a user
// without privileges (rootless) is none; rules about those name the path.
// Threads: functions of their arguments. Errors: none; what is not known is nullopt. Whether the *path* is known is
// said elsewhere (peer_identity.h).
// Source: systemd.slice(5), and what the engines do; the tests have a path of each.
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

namespace tpmspace::daemon {

struct CgroupNames {
  std::optional<std::string> unit = std::nullopt;       // a unit of the system's systemd; slices are none
  std::optional<std::string> container = std::nullopt;  // 64 hexadecimal digits
  std::optional<std::string> pod = std::nullopt;        // its uid as Kubernetes writes it: with dashes
  bool operator==(const CgroupNames&) const = default;
};
// `path` as /proc/PID/cgroup has it: "/system.slice/nginx.service".
[[nodiscard]] CgroupNames names_in_cgroup(std::string_view path);

}  // namespace tpmspace::daemon
