// Who is at the other end of an accepted Unix socket: from the kernel, never from a message.
//
// Idea: two kinds of facts. What the socket itself remembers (ids, groups, label) was true when the peer connected and
// never changes. What /proc says of the process is true when it is read; it is believed only if the process that
// connected is shown to have lived until after the reading:
//   - SO_PEERPIDFD (Linux 6.5) is that process, and a pidfd that is not readable is alive, so its number was not given
//     away meanwhile;
//   - before 6.5 the number is all there is: the process that has it must have started before the socket was accepted,
//     be the same before and after, and have the ids of the peer. A number that goes to another process of the same
//     ids between connect and accept is not noticed there.
// Everything is read through one descriptor of /proc/PID, which never becomes another process. Any doubt makes a field
// unknown; so does a process that may not be looked at (without CAP_SYS_PTRACE all but those of our own user).
// What a process leaves behind when it ends is lost for who reads late, so the cgroup is read first, and what needs
// more system calls (executable, kernel namespaces) can be read later through the same descriptor. What a process does
// later (exec, setuid, exit, handing on the socket) changes nothing of what was read. docs/identity.md says what each
// field is worth. Bytes that a peer can choose (executable, cgroup) are as the kernel has them: who shows them has to
// escape them. Threads: a PeerReader is constant once made. It does not wait for a file system that a user may serve
// (FUSE). Units: nanoseconds of CLOCK_BOOTTIME. Limits: of every text that is read, in peer_identity.cc. Errors: no
// identity at all if the socket does not tell its peer's ids; else fields that are unknown. Source: unix(7),
// pidfd_open(2), proc(5), openat2(2), "Ptrace access mode checking" in ptrace(2).
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

// Why there is more to say of a process or not.
enum class Sight : std::uint8_t {
  kRead,     // it lived while it was read
  kGone,     // it was gone by then, or there is doubt that it was the one, or it alone is not shown
  kHidden,   // it lives, and our /proc shows nobody else's processes: hidepid, or /proc of another pid namespace
  kForeign,  // it has no number in our pid namespace
};

// What programs and administrators see differently: read later if nothing is to be decided by it (PeerReader::read).
struct PeerProgram {
  guard::Known<std::string> executable = {};            // a path that leads us, too, to the very file
  guard::Known<std::uint64_t> user_namespace = {};      // inode
  guard::Known<std::uint64_t> mount_namespace = {};     // likewise
  bool operator==(const PeerProgram&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

struct PeerIdentity {
  // Of the socket.
  uid_t uid = static_cast<uid_t>(-1);                       // effective
  gid_t gid = static_cast<gid_t>(-1);                       // effective
  std::optional<std::vector<gid_t>> groups = std::nullopt;  // supplementary, ascending; nullopt: unknown
  std::optional<pid_t> pid = std::nullopt;                  // to show: the process may be gone
  guard::Known<std::string> label = {};                     // of the Linux security module
  bool is_nobody = false;  // the uid may stand for one that our user namespace has no number for
  // Of the process.
  Sight sight = Sight::kForeign;
  CgroupFacts cgroups = {};
  guard::Match is_in_our_user_namespace = guard::Match::kMaybe;  // looked at if an administrator may have this uid
  PeerProgram program = {};
  bool operator==(const PeerIdentity&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
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
  // Looks at our own process, once: to which cgroups and user namespace those of others are compared.
  explicit PeerReader(PeerReaderOptions options = {});

  // `accepted`: not before the socket was accepted, and as soon after as can be.
  [[nodiscard]] std::optional<PeerIdentity> read(int socket, SinceBoot accepted = since_boot()) const;
  // Without the program. `process`: a descriptor for `read_program`, if it can be read at all.
  [[nodiscard]] std::optional<PeerIdentity> read_first(int socket, SinceBoot accepted, base::Fd& process) const;
  // Whether /proc shows the processes of others; if not, nothing is known of any but what its socket says.
  [[nodiscard]] bool sees_others() const { return proc_is_ours_ && sees_others_; }
  // Unknown is what cannot be read, also because the process is gone.
  [[nodiscard]] PeerProgram read_program(const base::Fd& process) const;

 private:
  struct Pidfd {
    base::Fd fd;
    bool by_number = false;
  };
  [[nodiscard]] base::Fd directory_of(pid_t pid) const;
  [[nodiscard]] Pidfd pidfd_of(int socket, pid_t pid) const;
  // Adds to `peer` what its process says.
  [[nodiscard]] Sight look_at_process(PeerIdentity& peer, int socket, SinceBoot accepted, base::Fd& process) const;
  // One that /proc does not show.
  [[nodiscard]] Sight unseen(int socket, pid_t pid) const;
  [[nodiscard]] guard::Match is_in_our_user_namespace(int process) const;

  PeerReaderOptions options_;
  // Of our own process.
  bool proc_is_ours_ = false;  // the numbers in /proc are those of our pid namespace
  bool sees_others_ = false;
  std::vector<CgroupPath> cgroups_;
  std::optional<std::uint64_t> user_namespace_;
  std::optional<std::string> uid_map_;
};

}  // namespace tpmspace::peer
