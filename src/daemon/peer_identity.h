// Who is at the other end of an accepted Unix socket: from the kernel, never from a message.
//
// Idea: two kinds of facts. What the socket itself remembers (ids, groups, label) was true when the peer connected and
// never changes. What /proc says of the process is true when it is read, right after accepting; it is believed only if
// the process that connected is shown to have lived until after the reading:
//   - SO_PEERPIDFD (Linux 6.5) is that process, and a pidfd that is not readable is alive, so its number was not given
//     away meanwhile;
//   - before 6.5 the number is all there is: the process that has it must have started before the socket was accepted,
//     be the same before and after, and have the ids of the peer. A number that goes to another process of the same
//     ids between connect and accept is not noticed there.
// Everything is read through one descriptor of /proc/PID, which never becomes another process. Any doubt makes a field
// unknown; so does a process that may not be looked at (without CAP_SYS_PTRACE all but those of our own user).
// An identity is made once and kept: what the process does later (exec, setuid, exit, handing on the socket) changes
// nothing. docs/identity.md says what each field is worth.
// Octets that a peer can choose (executable, cgroup) are as the kernel has them: who shows them has to escape them.
// Threads: a PeerReader is constant once made. It does not wait for a file system that a user may serve (FUSE).
// Units: nanoseconds of CLOCK_BOOTTIME. Limits: of every text that is read, in peer_identity.cc.
// Errors: no identity at all if the socket does not tell its peer's ids; else fields that are nullopt.
// Source: unix(7), pidfd_open(2), proc(5), openat2(2), "Ptrace access mode checking" in ptrace(2).
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/proc_text.h"
#include "posix/fd.h"

namespace tpmspace::daemon {

struct PeerIdentity {
  // Of the socket.
  uid_t uid = static_cast<uid_t>(-1);                       // effective
  gid_t gid = static_cast<gid_t>(-1);                       // effective
  std::optional<std::vector<gid_t>> groups = std::nullopt;  // supplementary, ascending
  std::optional<pid_t> pid = std::nullopt;                  // to show: the process may be gone
  std::optional<std::string> label = std::nullopt;          // of the Linux security module
  // Of the process.
  std::optional<std::string> executable = std::nullopt;        // a path that leads us, too, to the very file
  std::optional<std::string> cgroup = std::nullopt;            // v2: "/system.slice/nginx.service"
  std::optional<std::uint64_t> user_namespace = std::nullopt;  // inode
  std::optional<std::uint64_t> mount_namespace = std::nullopt;
  bool operator==(const PeerIdentity&) const = default;
};

// SO_PEERCRED: of an accepted socket, who connected; of a connected one, who listens. pid 0: in another pid namespace.
[[nodiscard]] std::optional<ucred> peer_credentials(int socket);

using SinceBoot = std::chrono::nanoseconds;
[[nodiscard]] SinceBoot since_boot();

struct PeerReaderOptions {
  std::string proc = "/proc";
  bool pidfd_of_socket = true;  // false: as before Linux 6.5
};

class PeerReader {
 public:
  // Looks at the mounts, once: cgroup v2 has to be mounted by now.
  explicit PeerReader(PeerReaderOptions options = {});

  // `accepted`: not before the socket was accepted, and as soon after as can be.
  [[nodiscard]] std::optional<PeerIdentity> read(int socket, SinceBoot accepted = since_boot()) const;

  // Where cgroup v2 is; nullopt: nowhere, so no peer's cgroup is known.
  [[nodiscard]] const std::optional<Cgroup2Mount>& cgroup2() const { return cgroup2_; }

 private:
  struct Pidfd {
    posix::Fd fd;
    bool by_number = false;
  };
  [[nodiscard]] Pidfd pidfd_of(int socket, pid_t pid) const;
  // `known` and what /proc says of its process; nullopt: in doubt.
  [[nodiscard]] std::optional<PeerIdentity> with_process(PeerIdentity known, int socket, SinceBoot accepted) const;

  PeerReaderOptions options_;
  bool proc_is_ours_ = false;  // its numbers are those of our pid namespace
  std::optional<Cgroup2Mount> cgroup2_;
};

}  // namespace tpmspace::daemon
