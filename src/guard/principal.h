// Who is at the other end of a connection, as the kernel told the daemon when it connected; never from a message.
//
// Idea: each field is known, known to be absent, or unknown (guard/known.h). A principal starts with nothing known but
// its uid: whoever makes one says what is known.
// Threads: a value. Source: SO_PEERCRED, SO_PEERGROUPS, /proc/PID (the daemon reads them).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guard/known.h"

namespace tpmspace::guard {

// Octets of the longest LSM label that is believed.
inline constexpr std::size_t kMaxLabel = 4096;

struct Principal {
  std::uint32_t uid = UINT32_MAX;       // in the daemon's user namespace; UINT32_MAX is nobody's
  std::vector<std::uint32_t> gids;      // those that are known, the primary one included
  bool all_gids = false;                // there are no others
  std::optional<std::int32_t> pid;      // for people who read an audit record; no rule names it
  Known<std::string> executable;        // absolute path. Can be spoofed: connect, fork, exec
  Known<std::string> cgroup;            // from the root of the hierarchy: "/system.slice/nginx.service"
  Known<std::string> unit;              // of the system's systemd, as the cgroup says: "nginx.service"
  Known<std::string> container;         // likewise: its id
  Known<std::string> pod;               // likewise: its uid
  Known<std::uint64_t> user_namespace;  // inode numbers
  Known<std::uint64_t> mount_namespace;
  Known<std::string> lsm_label;
  Known<std::string> tpm_namespace;  // not the kernel's: the configured one that it belonged to when it came
  std::optional<std::string> chip;   // which of the daemon's TPMs it uses, by its name in the configuration

  // The process is in the daemon's own user namespace, and in no container that the daemon is not in. Only root of whom
  // this is so is the machine's root.
  Match is_native = Match::kMaybe;
  // The process could have been read, as others can, and was not: it was gone by then, or in doubt. Such a client gets
  // no more than `safe` by rules and namespaces, and is an owner of its own.
  bool is_unidentified = false;

  // An ordinary process of which everything is known: in no unit, container, pod or TPM namespace.
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
