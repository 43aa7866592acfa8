// The process at the other end of a connection, as the kernel identified it at connect; never from a message.
//
// Idea: each field is known, known to be absent, or unknown (guard/known.h). Only the uid of a new principal is known:
// the creator sets every other known field.
// Threads: a value. Source: SO_PEERCRED, SO_PEERGROUPS, /proc/PID (the daemon reads them).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guard/known.h"

namespace tpmspace::guard {

// Bytes of the longest LSM label that is accepted.
inline constexpr std::size_t kMaxLabel = 4096;

struct Principal {
  std::uint32_t uid = UINT32_MAX;       // in the daemon's user namespace; UINT32_MAX belongs to no user
  std::vector<std::uint32_t> gids;      // the known groups, the primary group included
  bool all_gids = false;                // the process has no other groups
  std::optional<std::int32_t> pid;      // for readers of an audit record; no rule names a pid
  Known<std::string> executable;        // absolute path. Can be spoofed: connect, fork, exec
  Known<std::string> cgroup;            // from the root of the hierarchy: "/system.slice/nginx.service"
  Known<std::string> unit;              // unit of the system's systemd, from the cgroup: "nginx.service"
  Known<std::string> container;         // container id, from the cgroup
  Known<std::string> pod;               // pod uid, from the cgroup
  Known<std::uint64_t> user_namespace;  // inode numbers
  Known<std::uint64_t> mount_namespace;
  Known<std::string> lsm_label;
  Known<std::string> tpm_namespace;  // the configured TPM namespace of the client at connect
  std::optional<std::string> chip;   // the client's TPM, by its name in the configuration

  // The process is in the daemon's own user namespace, and in no container that the daemon is not in. Only a native
  // root is the machine's root.
  Match is_native = Match::kMaybe;
  // The process is in a readable /proc, but was not read: the process was gone, or in doubt. Such a client gets no more
  // than `safe` by rules and namespaces, and is a separate owner.
  bool is_unidentified = false;

  // An ordinary process with all fields known: in no unit, container, pod or TPM namespace.
  [[nodiscard]] static Principal ordinary(std::uint32_t uid) {
    Principal out;
    out.uid = uid;
    out.all_gids = true;
    for (auto* text :
         {&out.executable, &out.cgroup, &out.unit, &out.container, &out.pod, &out.lsm_label, &out.tpm_namespace})
      *text = Known<std::string>::none();
    out.user_namespace = Known<std::uint64_t>::none();
    out.mount_namespace = Known<std::uint64_t>::none();
    out.is_native = Match::kYes;
    return out;
  }

  bool operator==(const Principal&) const = default;
};

}  // namespace tpmspace::guard
