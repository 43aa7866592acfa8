#include "loop/listening_socket.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "peer/peer_identity.h"
#include "proto/socket_path.h"

namespace tpmspace::loop {
namespace {

using Done = tl::expected<void, std::string>;

template <typename... Args>
tl::unexpected<std::string> fault(fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<std::string>(fmt::format(text, std::forward<Args>(args)...));
}

std::string last_error() {
  return std::strerror(errno);
}

// For chown: no change.
constexpr auto kSame = static_cast<uid_t>(-1);

std::string id_text(const std::optional<uid_t>& id) {
  return id ? std::to_string(*id) : "of its own";
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}
std::string lock_path(const std::string& path) {
  return path + ".lock";
}
std::string new_path(const std::string& path) {
  return path + proto::kNewSocketSuffix;
}

// Precondition: path.size() fits.
sockaddr_un address_of(const std::string& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
  return out;
}

// The socket interface wants its generic type.
const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Done check_length(const std::string& path, std::string_view remedy) {
  if (path.size() <= proto::kMaxSocketPath) return {};
  return fault("the socket's path is too long: it has {} bytes, at most {} are possible: {}; {}", path.size(),
               proto::kMaxSocketPath, path, remedy);
}

// Other users may need to reach the socket; the socket's own mode restricts the connections.
Done make_directories(const std::string& directory, unsigned levels) {
  if (levels == 0) return {};
  if (auto ok = make_directories(directory_of(directory), levels - 1); !ok) return ok;
  if (::mkdir(directory.c_str(), 0755) == 0) {
    if (::chmod(directory.c_str(), 0755) != 0)
      return fault("the directory {} cannot be opened to others: {}", directory, last_error());
    return {};
  }
  if (errno == EEXIST) return {};
  return fault("the directory {} cannot be made: {}; make the directory, and let {} write in it", directory,
               last_error(), "tpmspaced's user");
}

Done check_directory(const std::string& path) {
  const std::string directory = directory_of(path);
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) {
    if (errno == ENOENT)
      return fault(
          "the directory {} does not exist, so the socket {} cannot be made: make the directory, or name another path",
          directory, path);
    return fault("the directory {} cannot be used for the socket: {}", directory, last_error());
  }
  if (!S_ISDIR(info.st_mode)) return fault("{} is not a directory, so the socket {} cannot be made", directory, path);
  return {};
}

// Only root and we can replace the files in the directory, or the directory itself by a link to another directory.
bool is_ours(const std::string& directory) {
  struct stat info {};
  if (::lstat(directory.c_str(), &info) != 0 || (info.st_uid != 0 && info.st_uid != ::geteuid())) return false;
  if (::stat(directory.c_str(), &info) != 0 || (info.st_uid != 0 && info.st_uid != ::geteuid())) return false;
  return (info.st_mode & (S_IWGRP | S_IWOTH)) == 0 || (info.st_mode & S_ISVTX) != 0;
}

// Checks the socket's directory, and the directories above that `make_directories` made.
Done check_care(const ListeningSocket::Place& place) {
  if (!place.careful) return {};
  std::string directory = directory_of(place.path);
  for (unsigned level = 0; level < std::max(place.make_directories, 1U); ++level, directory = directory_of(directory))
    if (!is_ours(directory))
      return fault("other users may write in {}, so the socket {} would not be safe there: name another path",
                   directory, place.path);
  return {};
}

pid_t peer_pid(int fd) {
  const auto peer = peer::peer_credentials(fd);
  return peer ? peer->pid : 0;
}

// PATH may be replaced if no file is there, or a socket that no process serves.
Done check_place(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return fault("{} cannot be looked at: {}", path, last_error());
  }
  if (!S_ISSOCK(info.st_mode))
    return fault("{} exists and is not a socket: remove the file, or name another path", path);

  const base::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fault("no socket can be made: {}", last_error());
  const sockaddr_un address = address_of(path);
  if (::connect(probe.get(), generic(address), sizeof address) == 0)
    return fault("another tpmspaced (pid {}) serves {}", peer_pid(probe.get()), path);
  switch (errno) {
    case ECONNREFUSED:  // stale: the serving process is gone
    case ENOENT:        // the file has vanished meanwhile
      return {};
    case EAGAIN:
      return fault("another program listens on {} and does not answer", path);
    case EPROTOTYPE:
      return fault("another program listens on {} with a socket of another kind", path);
    default:
      return fault("{} is there, and whether a program listens on it is unknown: {}", path, last_error());
  }
}

std::string lock_holder(int fd) {
  char text[32] = {};
  const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
  std::string_view view(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!view.empty() && (view.back() < '0' || view.back() > '9')) view.remove_suffix(1);
  for (const char c : view)
    if (c < '0' || c > '9') return "unknown";
  return view.empty() ? "unknown" : std::string(view);
}

bool same_file(int fd, const std::string& path) {
  struct stat held {
  }, named{};
  return ::fstat(fd, &held) == 0 && ::lstat(path.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

// The holder of the lock may later remove the lock file, so a lock on a removed file does not count.
tl::expected<base::Fd, std::string> take_lock(const std::string& path) {
  const std::string name = lock_path(path);
  for (;;) {
    base::Fd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd)
      return fault(
          "the lock file {} cannot be opened: {}: the server must be able to write in {}; start tpmspaced as a user "
          "with write access, or choose another path with --socket PATH",
          name, last_error(), directory_of(path));
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return fault("the lock file {} cannot be locked: {}", name, last_error());
      // If a daemon serves at the path, the message names the socket; else a daemon is starting or stopping at the
      // path.
      if (auto place = check_place(path); !place) return tl::unexpected(place.error());
      return fault("another tpmspaced (pid {}) is starting or stopping at {}", lock_holder(fd.get()), path);
    }
    if (!same_file(fd.get(), name)) continue;
    const std::string pid = fmt::format("{}\n", ::getpid());
    if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0)
      return fault("the lock file {} cannot be written: {}", name, last_error());
    return fd;
  }
}

// Sets owner, group and mode, then listens. `info`: the socket's entry in the file system.
Done set_up(const ListeningSocket::Place& place, int fd, const std::string& temporary, struct stat& info) {
  if ((place.owner || place.group) &&
      ::lchown(temporary.c_str(), place.owner.value_or(kSame), place.group.value_or(kSame)) != 0)
    return fault(
        "the socket {} cannot be given to user {}, group {}: {}; run tpmspaced as root, or choose a group of "
        "tpmspaced's user",
        place.path, id_text(place.owner), id_text(place.group), last_error());
  if (::lstat(temporary.c_str(), &info) != 0 || ::listen(fd, limits::kBacklog) != 0)
    return fault("the socket {} cannot be set up: {}", place.path, last_error());
  return {};
}

}  // namespace

tl::expected<ListeningSocket, std::string> ListeningSocket::claim(const Place& place) {
  const std::string& path = place.path;
  if (path.empty()) return fault("the socket's path is empty: name a path with --socket PATH");
  if (auto fits = check_length(path, "name another path with --socket PATH"); !fits)
    return tl::unexpected(fits.error());
  if (auto ok = make_directories(directory_of(path), place.make_directories); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_directory(path); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_care(place); !ok) return tl::unexpected(ok.error());
  auto lock = take_lock(path);
  if (!lock) return tl::unexpected(lock.error());
  // From here on the destructor removes the lock file.
  ListeningSocket out(place, std::move(*lock));
  if (auto ok = check_place(path); !ok) return tl::unexpected(ok.error());
  return out;
}

tl::expected<ListeningSocket, std::string> ListeningSocket::inherit(int fd) {
  ListeningSocket out(Place{}, base::Fd());
  out.socket_.reset(fd);
  if (sd_is_socket_unix(fd, SOCK_STREAM, 1, nullptr, 0) <= 0)
    return fault("the descriptor that systemd handed over is not a listening Unix stream socket");
  // systemd's own queue has 4096 places.
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
      ::listen(fd, limits::kBacklog) != 0)
    return fault("the socket that systemd handed over cannot be set up: {}", last_error());
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0)
    out.place_.path.assign(address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path));
  // The socket would serve, but no client of ours could name the path.
  if (auto fits = check_length(out.place_.path, "choose another ListenStream="); !fits)
    return tl::unexpected(fits.error());
  return out;
}

ListeningSocket::~ListeningSocket() {
  withdraw();
  if (lock_ && same_file(lock_.get(), lock_path(place_.path))) ::unlink(lock_path(place_.path).c_str());
}

bool ListeningSocket::is_there() const {
  struct stat info {};
  return published_as_ && ::lstat(place_.path.c_str(), &info) == 0 && *published_as_ == Inode{info.st_dev, info.st_ino};
}

tl::expected<ListeningSocket::Published, std::string> ListeningSocket::put(const Place& place) const {
  const std::string temporary = new_path(place.path);
  ::unlink(temporary.c_str());  // left by a daemon that died here; we hold the lock
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fault("no socket can be made: {}", last_error());
  const sockaddr_un address = address_of(temporary);
  // Linux takes the mode from the socket itself, minus the umask: by now the name could refer to another file.
  ::fchmod(fd.get(), place.mode);
  const mode_t umask = ::umask(0);
  const bool bound = ::bind(fd.get(), generic(address), sizeof address) == 0;
  ::umask(umask);
  if (!bound) return fault("the socket {} cannot be made: {}", place.path, last_error());

  struct stat info {};
  auto ready = set_up(place, fd.get(), temporary, info);
  if (ready && !is_there()) ready = check_place(place.path);
  if (ready && ::rename(temporary.c_str(), place.path.c_str()) != 0)
    ready = fault("the socket {} cannot be put in its place: {}", place.path, last_error());
  if (!ready) {
    ::unlink(temporary.c_str());
    return tl::unexpected(ready.error());
  }
  return Published{std::move(fd), {info.st_dev, info.st_ino}};
}

tl::expected<void, std::string> ListeningSocket::publish() {
  if (socket_) return {};
  return change_to(place_).map([](const base::Fd&) {});
}

tl::expected<base::Fd, std::string> ListeningSocket::replace(const Place& place) {
  if (socket_) return change_to(place);
  place_ = place;
  return {};
}

tl::expected<base::Fd, std::string> ListeningSocket::change_to(const Place& place) {
  auto published = put(place);
  if (!published) return tl::unexpected(published.error());
  place_ = place;
  published_as_ = published->inode;
  return std::exchange(socket_, std::move(published->socket));
}

void ListeningSocket::withdraw() {
  if (is_there()) ::unlink(place_.path.c_str());
  published_as_.reset();
  socket_.reset();
}

}  // namespace tpmspace::loop
