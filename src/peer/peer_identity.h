// The process at the other end of an accepted Unix socket: from the kernel, never from a message.
//
// Idea: two kinds of facts. The socket's own facts (ids, groups, label) were true when the peer connected and never
// change. The facts of /proc are true when they are read; they count only if the connecting process is shown to have
// lived until after the reading:
//   - SO_PEERPIDFD (Linux 6.5) is the connecting process. If the pidfd is not readable, the process is alive, so its
//     number was not given away meanwhile;
//   - before 6.5 only the number is known: the process with the number must have started before the socket was
//     accepted, be the same before and after the reading, and have the ids of the peer. If the number goes to another
//     process of the same ids between connect and accept, the change is not noticed.
// All facts of /proc are read through one descriptor of /proc/PID, which never becomes another process. Any doubt makes
// a field unknown; so does a process that may not be read (without CAP_SYS_PTRACE every process of another user). Facts
// of an ended process are lost for a late reader, so the cgroup is read first, and facts that need more system calls
// (executable, kernel namespaces) can be read later through the same descriptor. Later acts of the process (exec,
// setuid, exit, passing on the socket) do not change the facts read. docs/identity.md describes the worth of each
// field. Bytes chosen by a peer (executable, cgroup) are kept as the kernel has them: the code that displays them must
// escape them.
// Threads: a PeerReader is constant once made. It does not wait for a file system that a user may serve
// (FUSE). Units: nanoseconds of CLOCK_BOOTTIME. Limits: of every text read, in peer_identity.cc.
// Errors: no identity at all if the socket does not tell its peer's ids; else unknown fields.
// Source: unix(7), pidfd_open(2), proc(5), openat2(2), "Ptrace access mode checking" in ptrace(2).
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "guard/known.h"
#include "peer/cgroup_names.h"
#include "peer/proc_text.h"

namespace tpmspace::peer {

// Whether and why the process could be read.
enum class Sight : std::uint8_t {
  kRead,     // the process lived during the reading
  kGone,     // the process was gone, in doubt, or the only process not shown
  kHidden,   // the process lives, and our /proc shows no other users' processes: hidepid, or /proc of another pid
             // namespace
  kForeign,  // the process has no number in our pid namespace
};

// The attributes that programs and administrators can change: read later if no decision needs them
// (PeerReader::read_first).
struct PeerProgram {
  guard::Known<std::string> executable = {};            // a path that leads us, too, to the same file
  guard::Known<std::uint64_t> user_namespace = {};      // inode
  guard::Known<std::uint64_t> mount_namespace = {};     // inode
  bool operator==(const PeerProgram&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

struct PeerIdentity {
  // Facts of the socket.
  uid_t uid = static_cast<uid_t>(-1);                       // effective
  gid_t gid = static_cast<gid_t>(-1);                       // effective
  std::optional<std::vector<gid_t>> groups = std::nullopt;  // supplementary, ascending; nullopt: unknown
  std::optional<pid_t> pid = std::nullopt;                  // for display: the process may be gone
  guard::Known<std::string> label = {};                     // label of the Linux security module
  bool is_nobody = false;  // the uid may stand for a uid without a number in our user namespace
  // Facts of the process.
  Sight sight = Sight::kForeign;
  CgroupFacts cgroups = {};
  guard::Match is_in_our_user_namespace = guard::Match::kMaybe;  // read only if an administrator may have this uid
  PeerProgram program = {};
  bool operator==(const PeerIdentity&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// SO_PEERCRED: of an accepted socket, the connecting process; of a connected socket, the listening process. pid 0: in
// another pid namespace.
[[nodiscard]] std::optional<ucred> peer_credentials(int socket);

using SinceBoot = std::chrono::nanoseconds;
[[nodiscard]] SinceBoot since_boot();

struct PeerReaderOptions {
  std::string proc = "/proc";
  bool pidfd_of_socket = true;  // false: as before Linux 6.5
};

class PeerReader {
 public:
  // Reads our own process once: other processes' cgroups and user namespaces are compared with ours.
  explicit PeerReader(PeerReaderOptions options = {});

  // `accepted`: not before the socket was accepted, and as soon after as possible.
  [[nodiscard]] std::optional<PeerIdentity> read(int socket, SinceBoot accepted = since_boot()) const;
  // Without the program. `process`: a descriptor for `read_program`, if the process is readable.
  [[nodiscard]] std::optional<PeerIdentity> read_first(int socket, SinceBoot accepted, base::Fd& process) const;
  // Whether /proc shows other users' processes; if not, only the facts of the socket are known.
  [[nodiscard]] bool sees_others() const { return proc_is_ours_ && sees_others_; }
  // Unreadable fields are unknown, also if the process is gone.
  [[nodiscard]] PeerProgram read_program(const base::Fd& process) const;

 private:
  struct Pidfd {
    base::Fd fd;
    bool by_number = false;
  };
  [[nodiscard]] base::Fd directory_of(pid_t pid) const;
  [[nodiscard]] Pidfd pidfd_of(int socket, pid_t pid) const;
  // Adds the facts of the process to `peer`.
  [[nodiscard]] Sight look_at_process(PeerIdentity& peer, int socket, SinceBoot accepted, base::Fd& process) const;
  // The sight of a process that /proc does not show.
  [[nodiscard]] Sight unseen(int socket, pid_t pid) const;
  [[nodiscard]] guard::Match is_in_our_user_namespace(int process) const;

  PeerReaderOptions options_;
  // Facts of our own process.
  bool proc_is_ours_ = false;  // the numbers in /proc belong to our pid namespace
  bool sees_others_ = false;
  std::vector<CgroupPath> cgroups_;
  std::optional<std::uint64_t> user_namespace_;
  std::optional<std::string> uid_map_;
};

}  // namespace tpmspace::peer
