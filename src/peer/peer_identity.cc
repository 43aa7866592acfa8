#include "peer/peer_identity.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <ctime>
#include <limits>
#include <string_view>
#include <utility>

#include "guard/rules.h"

// In Linux 6.5, not in the headers of Debian 12. Some architectures number socket options otherwise.
#ifndef SO_PEERPIDFD
#if defined(__hppa__)
#define SO_PEERPIDFD 0x404B
#elif defined(__sparc__)
#define SO_PEERPIDFD 0x0056
#else
#define SO_PEERPIDFD 77
#endif
#endif

namespace tpmspace::peer {
namespace {

// Limits in bytes. A longer text is treated as unknown.
constexpr std::size_t kMaxStat = 4096;            // some 50 numbers and a name
constexpr std::size_t kMaxStatusHead = 4096;      // the ids are in the first lines
constexpr std::size_t kMaxCgroup = 128UL << 10U;  // a path for each v1 hierarchy, of which there are at most 16
constexpr std::size_t kMaxUidMap = 64UL << 10U;   // 340 lines at most (user_namespaces(7))

// A lookup fails if any file is renamed meanwhile.
constexpr int kLookups = 3;

constexpr std::size_t kUsualGroups = 32;
constexpr std::size_t kMaxGroups = 65536;  // NGROUPS_MAX

enum class TooLong : std::uint8_t { kUnknown, kCut };

std::optional<std::string> read_text(int directory, const char* name, std::size_t limit,
                                     TooLong too_long = TooLong::kUnknown) {
  const base::Fd file(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) return std::nullopt;
  std::string out;
  std::array<char, 4096> chunk{};
  while (out.size() <= limit) {
    const auto n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return out;
    out.append(chunk.data(), static_cast<std::size_t>(n));
  }
  if (too_long == TooLong::kUnknown) return std::nullopt;
  out.resize(limit);
  return out;
}

std::optional<std::string> read_link(int directory, const char* name) {
  std::array<char, PATH_MAX> text{};
  const auto n = ::readlinkat(directory, name, text.data(), text.size());
  if (n <= 0 || static_cast<std::size_t>(n) == text.size()) return std::nullopt;
  return std::string(text.data(), static_cast<std::size_t>(n));
}

std::optional<std::vector<gid_t>> groups_of(int socket) {
  std::vector<gid_t> out(kUsualGroups);
  for (int tries = 0; tries < 2; ++tries) {
    auto size = static_cast<socklen_t>(out.size() * sizeof(gid_t));
    const bool fits = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, out.data(), &size) == 0;
    const std::size_t count = size / sizeof(gid_t);
    if (!fits && (errno != ERANGE || count > kMaxGroups)) return std::nullopt;
    out.resize(count);
    if (!fits) continue;
    std::sort(out.begin(), out.end());
    return out;
  }
  return std::nullopt;
}

using Text = guard::Known<std::string>;
using Inode = guard::Known<std::uint64_t>;

Text label_of(int socket) {
  std::array<char, guard::kMaxLabel> text{};
  socklen_t size = text.size();
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERSEC, text.data(), &size) != 0)
    return errno == ENOPROTOOPT ? Text::none() : Text();
  const auto label = size <= text.size() ? parse_label({text.data(), size}) : std::nullopt;
  return label ? Text(*label) : Text();
}

// A pidfd becomes readable when its process ends.
bool is_alive(int pidfd) {
  pollfd watched{.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&watched, 1, 0) == 0;
}

// The file behind a descriptor, without asking the file system, which a user's program may serve.
struct FileId {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint64_t inode = 0;
  bool operator==(const FileId&) const = default;
};
std::optional<FileId> file_id(int fd) {
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &info) != 0) return std::nullopt;
  return FileId{info.stx_dev_major, info.stx_dev_minor, info.stx_ino};
}

// Looks up only entries in the kernel's memory, to avoid such file systems: the path of a running program is cached.
base::Fd find_cached(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_CACHED | RESOLVE_NO_SYMLINKS;
  for (int tries = 0; tries < kLookups; ++tries) {
    base::Fd out(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
    if (out || errno != EAGAIN) return out;
  }
  return {};
}

// Whether the error means absence, and not a failure to look.
bool says_none(int error) {
  return error != EAGAIN && error != ENOSYS && error != EINVAL && error != EMFILE && error != ENFILE && error != ENOMEM;
}

// The path is in the mount namespace of the process: there /usr/sbin/nginx may be another file than ours.
Text executable_of(int process) {
  const auto text = read_link(process, "exe");
  if (!text) return {};
  auto path = parse_executable(*text);
  if (!path) return Text::none();
  const base::Fd found = find_cached(*path);
  if (!found) return says_none(errno) ? Text::none() : Text();
  const base::Fd meant(::openat(process, "exe", O_PATH | O_CLOEXEC));
  if (!meant) return {};
  const auto id = file_id(meant.get());
  if (!id) return {};
  return file_id(found.get()) == id ? Text(*std::move(path)) : Text::none();
}

std::optional<std::uint64_t> namespace_of(int process, const char* name) {
  struct stat info {};
  if (::fstatat(process, name, &info, 0) != 0) return std::nullopt;
  return info.st_ino;
}

// Nullopt: unknown. A kernel without cgroups has no such file.
std::optional<std::vector<CgroupPath>> cgroups_of(int process) {
  const auto text = read_text(process, "cgroup", kMaxCgroup);
  if (text) return parse_cgroups(*text);
  if (errno == ENOENT) return std::vector<CgroupPath>();
  return std::nullopt;
}

std::optional<ProcessStat> stat_of(int process) {
  const auto text = read_text(process, "stat", kMaxStat);
  return text ? parse_stat(*text) : std::nullopt;
}

SinceBoot time_of(const ProcessStat& start) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const auto tick = kSecond / static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_CLK_TCK)));
  constexpr auto kEnd = static_cast<std::uint64_t>(std::numeric_limits<SinceBoot::rep>::max());
  if (start.ticks > kEnd / tick) return SinceBoot::max();
  return SinceBoot(static_cast<SinceBoot::rep>(start.ticks * tick));
}

bool has_ids(int process, const PeerIdentity& peer) {
  const auto text = read_text(process, "status", kMaxStatusHead, TooLong::kCut);
  return text && parse_status(*text) == EffectiveIds{peer.uid, peer.gid};
}

}  // namespace

std::optional<ucred> peer_credentials(int socket) {
  ucred out{};
  socklen_t size = sizeof out;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &out, &size) != 0 || size != sizeof out) return std::nullopt;
  return out;
}

SinceBoot since_boot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

PeerReader::PeerReader(PeerReaderOptions options) : options_(std::move(options)) {
  const base::Fd proc(::open(options_.proc.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc) return;
  proc_is_ours_ = read_link(proc.get(), "self") == std::to_string(::getpid());
  const base::Fd self(::openat(proc.get(), "self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_is_ours_ || !self) return;
  sees_others_ = stat_of(directory_of(1).get()).has_value();  // pid 1: init, or the first process of a container
  cgroups_ = cgroups_of(self.get()).value_or(std::vector<CgroupPath>());
  user_namespace_ = namespace_of(self.get(), "ns/user");
  uid_map_ = read_text(self.get(), "uid_map", kMaxUidMap);
}

std::optional<PeerIdentity> PeerReader::read(int socket, SinceBoot accepted) const {
  base::Fd process;
  auto out = read_first(socket, accepted, process);
  if (process) out->program = read_program(process);
  return out;
}

std::optional<PeerIdentity> PeerReader::read_first(int socket, SinceBoot accepted, base::Fd& process) const {
  const auto credentials = peer_credentials(socket);
  if (!credentials) return std::nullopt;
  PeerIdentity out;
  out.uid = credentials->uid;
  out.gid = credentials->gid;
  out.groups = groups_of(socket);
  out.label = label_of(socket);
  out.is_nobody = out.uid == guard::kOverflowUid && !(uid_map_ && is_whole_uid_map(*uid_map_));
  if (credentials->pid <= 0) return out;
  out.pid = credentials->pid;
  PeerIdentity with_process = out;
  out.sight = with_process.sight = look_at_process(with_process, socket, accepted, process);
  if (out.sight == Sight::kRead) return with_process;
  process.reset();
  return out;
}

base::Fd PeerReader::directory_of(pid_t pid) const {
  const std::string path = options_.proc + "/" + std::to_string(pid);
  return base::Fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

PeerReader::Pidfd PeerReader::pidfd_of(int socket, pid_t pid) const {
  if (options_.pidfd_of_socket) {
    int fd = -1;
    socklen_t size = sizeof fd;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return {.fd = base::Fd(fd)};
    if (errno != ENOPROTOOPT) return {};  // the process is gone, or we have no descriptor left
  }
  return {.fd = base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))), .by_number = true};
}

// A living process that is not shown is hidden, if other users' processes are hidden here; if other processes are
// shown, the reason is unknown. The process is looked up again once it is known to live: until then another process may
// have taken the number.
Sight PeerReader::unseen(int socket, pid_t pid) const {
  const Pidfd pidfd = pidfd_of(socket, pid);
  if (!pidfd.fd || !is_alive(pidfd.fd.get())) return Sight::kGone;
  const bool is_shown = proc_is_ours_ && stat_of(directory_of(pid).get());
  return !is_shown && !sees_others() && is_alive(pidfd.fd.get()) ? Sight::kHidden : Sight::kGone;
}

Sight PeerReader::look_at_process(PeerIdentity& peer, int socket, SinceBoot accepted, base::Fd& process) const {
  if (!proc_is_ours_) return unseen(socket, *peer.pid);
  errno = 0;
  process = directory_of(*peer.pid);
  const auto before = process ? stat_of(process.get()) : std::nullopt;
  if (!before && (errno == ENOENT || errno == EACCES || errno == EPERM)) return unseen(socket, *peer.pid);
  const Pidfd pidfd = pidfd_of(socket, *peer.pid);
  if (!pidfd.fd || !before || before->pid != *peer.pid || time_of(*before) > accepted) return Sight::kGone;
  if (pidfd.by_number && !has_ids(process.get(), peer)) return Sight::kGone;

  const auto cgroups = cgroups_of(process.get());
  if (peer.uid == 0 || peer.uid == ::geteuid()) peer.is_in_our_user_namespace = is_in_our_user_namespace(process.get());

  const auto after = stat_of(process.get());
  if (!after || !after->is_same_process(*before) || !is_alive(pidfd.fd.get())) return Sight::kGone;
  // For a process whose main thread exits, v1 shows "/" (proc_cgroup_show in kernel/cgroup/cgroup.c).
  const auto is_v1 = [](const CgroupPath& one) { return !one.hierarchy.empty(); };
  if (cgroups && !(after->is_exiting && std::any_of(cgroups->begin(), cgroups->end(), is_v1)))
    peer.cgroups = facts_of(*cgroups, cgroups_);
  return Sight::kRead;
}

// The kernel tells namespace numbers only to processes that may trace the process, but the uid map to all. An equal map
// of another namespace can only be made by a user with all rights in ours.
guard::Match PeerReader::is_in_our_user_namespace(int process) const {
  if (const auto theirs = namespace_of(process, "ns/user"); theirs && user_namespace_)
    return guard::match_if(theirs == user_namespace_);
  const auto map = read_text(process, "uid_map", kMaxUidMap);
  return map && uid_map_ ? guard::match_if(map == uid_map_) : guard::Match::kMaybe;
}

PeerProgram PeerReader::read_program(const base::Fd& process) const {
  PeerProgram out;
  out.executable = executable_of(process.get());
  if (const auto mount = namespace_of(process.get(), "ns/mnt")) out.mount_namespace = *mount;
  if (const auto user = namespace_of(process.get(), "ns/user"))
    out.user_namespace = *user;
  else if (user_namespace_ && is_in_our_user_namespace(process.get()) == guard::Match::kYes)
    out.user_namespace = *user_namespace_;
  return out;
}

}  // namespace tpmspace::peer
