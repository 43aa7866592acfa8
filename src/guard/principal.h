// Who is at the other end of a connection, as the kernel told the daemon when it connected; never from a message.
//
// Idea: what could not be known is absent, and matches no rule that names it (guard/rules.h): doubt never gives more.
// Threads: a value. Source: SO_PEERCRED, SO_PEERGROUPS, /proc/PID (the daemon reads them).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tpmspace::guard {

struct Principal {
  std::uint32_t uid = UINT32_MAX;                  // in the daemon's user namespace; UINT32_MAX is nobody's
  std::optional<std::vector<std::uint32_t>> gids;  // the primary one included
  std::optional<std::int32_t> pid;                 // for people who read an audit record; no rule names it
  std::optional<std::string> executable;           // absolute path. Can be spoofed: connect, fork, exec
  std::optional<std::string> cgroup;               // in cgroup v2, from its root: "/system.slice/nginx.service"
  std::optional<std::string> unit;                 // of the system's systemd, as the cgroup says: "nginx.service"
  std::optional<std::string> container;            // likewise: its id
  std::optional<std::string> pod;                  // likewise: its uid
  std::optional<std::uint64_t> user_namespace;     // inode numbers
  std::optional<std::uint64_t> mount_namespace;
  std::optional<std::string> lsm_label;
  std::optional<std::string> tpm_namespace;  // not the kernel's: the configured one that it belonged to when it came
  std::optional<std::string> chip;           // which of the daemon's TPMs it uses, by its name in the configuration

  bool operator==(const Principal&) const = default;
};

}  // namespace tpmspace::guard
