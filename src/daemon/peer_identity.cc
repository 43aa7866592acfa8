#include "daemon/peer_identity.h"

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

namespace tpmspace::daemon {
namespace {

// Octets. Beyond these there is no such text: unknown.
constexpr std::size_t kMaxStat = 4096;            // some 50 numbers and a name
constexpr std::size_t kMaxStatusHead = 4096;      // the ids are in its first lines
constexpr std::size_t kMaxCgroup = 128UL << 10U;  // a path for each v1 hierarchy, of which there are at most 16
// The mounts of some thousand containers. A mount behind that is not found.
constexpr std::size_t kMaxMountinfo = 4UL << 20U;

// Somebody who renames anything meanwhile makes a lookup fail.
constexpr int kLookups = 3;

constexpr std::size_t kUsualGroups = 32;
constexpr std::size_t kMaxGroups = 65536;  // NGROUPS_MAX

enum class TooLong : std::uint8_t { kUnknown, kCut };

std::optional<std::string> read_text(int directory, const char* name, std::size_t limit,
                                     TooLong too_long = TooLong::kUnknown) {
  const posix::Fd file(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY));
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

std::optional<std::string> label_of(int socket) {
  std::array<char, kMaxLabel> text{};
  socklen_t size = text.size();
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERSEC, text.data(), &size) != 0 || size > text.size()) return std::nullopt;
  return parse_label({text.data(), size});
}

// A pidfd becomes readable when its process ends.
bool is_alive(int pidfd) {
  pollfd watched{.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&watched, 1, 0) == 0;
}

// Which file a descriptor means, without asking its file system: that may be a user's program.
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

// Likewise: only what the kernel has in memory is looked up, and all on the way to a running program is.
posix::Fd find_cached(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_CACHED | RESOLVE_NO_SYMLINKS;
  for (int tries = 0; tries < kLookups; ++tries) {
    posix::Fd out(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
    if (out || errno != EAGAIN) return out;
  }
  return {};
}

// The path is as the process has it: in a mount namespace of its own it may say /usr/sbin/nginx and mean another file.
std::optional<std::string> executable_of(int process) {
  const auto text = read_link(process, "exe");
  auto path = text ? parse_executable(*text) : std::nullopt;
  if (!path) return std::nullopt;
  const posix::Fd found = find_cached(*path);
  if (!found) return std::nullopt;
  const posix::Fd meant(::openat(process, "exe", O_PATH | O_CLOEXEC));
  if (!meant) return std::nullopt;
  const auto id = file_id(meant.get());
  if (!id || file_id(found.get()) != id) return std::nullopt;
  return path;
}

std::optional<std::uint64_t> namespace_of(int process, const char* name) {
  struct stat info {};
  if (::fstatat(process, name, &info, 0) != 0) return std::nullopt;
  return info.st_ino;
}

std::optional<ProcessStart> start_of(int process) {
  const auto text = read_text(process, "stat", kMaxStat);
  return text ? parse_stat(*text) : std::nullopt;
}

SinceBoot time_of(const ProcessStart& start) {
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
  const posix::Fd proc(::open(options_.proc.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc) return;
  proc_is_ours_ = read_link(proc.get(), "self") == std::to_string(::getpid());
  if (const auto mounts = read_text(proc.get(), "self/mountinfo", kMaxMountinfo, TooLong::kCut))
    cgroup2_ = parse_mountinfo(*mounts);
}

std::optional<PeerIdentity> PeerReader::read(int socket, SinceBoot accepted) const {
  const auto credentials = peer_credentials(socket);
  if (!credentials) return std::nullopt;
  PeerIdentity out;
  out.uid = credentials->uid;
  out.gid = credentials->gid;
  out.groups = groups_of(socket);
  out.label = label_of(socket);
  if (credentials->pid <= 0) return out;
  out.pid = credentials->pid;
  auto whole = with_process(out, socket, accepted);
  return whole ? whole : out;
}

PeerReader::Pidfd PeerReader::pidfd_of(int socket, pid_t pid) const {
  if (options_.pidfd_of_socket) {
    int fd = -1;
    socklen_t size = sizeof fd;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return {.fd = posix::Fd(fd)};
    if (errno != ENOPROTOOPT) return {};  // it is gone, or we have no descriptor left
  }
  return {.fd = posix::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))), .by_number = true};
}

std::optional<PeerIdentity> PeerReader::with_process(PeerIdentity known, int socket, SinceBoot accepted) const {
  if (!proc_is_ours_) return std::nullopt;
  const std::string path = options_.proc + "/" + std::to_string(*known.pid);
  const posix::Fd process(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!process) return std::nullopt;
  const auto before = start_of(process.get());
  const Pidfd pidfd = pidfd_of(socket, *known.pid);
  if (!pidfd.fd || !before || before->pid != *known.pid || time_of(*before) > accepted) return std::nullopt;
  if (pidfd.by_number && !has_ids(process.get(), known)) return std::nullopt;

  known.executable = executable_of(process.get());
  if (cgroup2_)
    if (const auto text = read_text(process.get(), "cgroup", kMaxCgroup)) known.cgroup = parse_cgroup(*text);
  known.user_namespace = namespace_of(process.get(), "ns/user");
  known.mount_namespace = namespace_of(process.get(), "ns/mnt");

  if (start_of(process.get()) != before || !is_alive(pidfd.fd.get())) return std::nullopt;
  return known;
}

}  // namespace tpmspace::daemon
