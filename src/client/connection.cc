#include "client/connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include "client/descriptor_lock.h"
#include "proto/socket_path.h"

namespace tpmspace::client {
namespace {

constexpr std::size_t kReadSize = std::size_t{16} * 1024;
constexpr auto kHello = static_cast<std::uint32_t>(proto::MessageType::kHello);
constexpr auto kSync = static_cast<std::uint32_t>(proto::MessageType::kSync);
constexpr auto kLongestPause = std::chrono::microseconds(5000);  // between two checks whether a descriptor is free
constexpr wire::Rc kOtherVersion = wire::from_manager(wire::rc::kValue);

std::string hex(wire::Rc code) {
  std::array<char, 16> text{};
  (void)std::snprintf(text.data(), text.size(), "0x%08x", code);
  return text.data();
}

std::string reason(int error) {
  std::array<char, 128> buffer{};
  return strerror_r(error, buffer.data(), buffer.size());  // GNU: the text need not be in the buffer
}

constexpr const char* kStartOne = "; start one, or use `tpmspace run -- CMD`";
constexpr const char* kNameAnother = "; name another socket with TPMSPACE_SOCKET or the program's own option";

std::string what_it_is(mode_t mode) {
  if (S_ISREG(mode)) return "a plain file";
  if (S_ISDIR(mode)) return "a directory";
  return "a device or pipe";
}

// The kernel refuses a connection to a file that is not a socket with the same code as to a socket without a server.
Error refused_connection(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode))
    return {Error::Kind::kNoService,
            "no tpmspaced at " + path + ": that is " + what_it_is(info.st_mode) + ", not a socket" + kNameAnother, 0};
  return {Error::Kind::kNoService,
          "no tpmspaced at " + path + ": the socket exists, but no process serves it" + kStartOne, 0};
}

// The mode of the socket, or of a folder on the way, forbids the access.
Error forbidden(const std::string& path, int error) {
  std::string why = reason(error);
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    std::array<char, 8> mode{};
    (void)std::snprintf(mode.data(), mode.size(), "%04o", info.st_mode & 07777U);
    why += ", its mode is " + std::string(mode.data()) + ", its owner uid " + std::to_string(info.st_uid) +
           ", its group gid " + std::to_string(info.st_gid);
  } else {
    why += ", a directory of its path cannot be entered";
  }
  return {Error::Kind::kForbidden,
          "cannot connect to tpmspaced at " + path + ": " + why +
              "; ask for access (tpmspaced has --socket-mode), or use `tpmspace run -- CMD`",
          0};
}

Error connect_error(const std::string& path, int error) {
  using Kind = Error::Kind;
  switch (error) {
    case ENOENT:
      return {Kind::kNoService, "no tpmspaced at " + path + ": there is no such socket" + kStartOne, 0};
    case ECONNREFUSED:
      return refused_connection(path);
    case ENOTDIR:
      return {Kind::kNoService, "no tpmspaced at " + path + ": a part of that path is not a directory" + kNameAnother,
              0};
    case EPROTOTYPE:
      return {Kind::kNoService, "no tpmspaced at " + path + ": that is a socket of another kind" + kNameAnother, 0};
    case EACCES:
    case EPERM:
      return forbidden(path, error);
    default:
      return {Kind::kSystem, "cannot connect to tpmspaced at " + path + ": " + reason(error), 0};
  }
}

// The reason of a refused UseChip if the chip is at fault; otherwise null.
const char* no_such_chip(wire::Rc code) {
  if (code == wire::from_manager(wire::rc::kValue)) return "is not in its configuration";
  if (code == wire::from_manager(wire::rc::kDisabled))
    return "is not your chip, and only administrators can choose a chip; use a listener of that chip, if one exists";
  if (code == wire::from_manager(wire::rc::kFailure)) return "is missing; the log of tpmspaced says why";
  return nullptr;
}

// The reason of a refused Join if one of the two connections is at fault; otherwise null.
const char* no_joining(wire::Rc code) {
  if (code == wire::from_manager(wire::rc::kValue))
    return ": the connection to join no longer exists; a connection ends when all of its processes have closed it, or "
           "with tpmspaced";
  if (code == wire::from_manager(wire::rc::kDisabled))
    return ": the new connection and the connection to join differ in chip, namespace or listener, or one of the two "
           "was narrowed";
  if (code == wire::from_manager(wire::rc::kObjectMemory))
    return ": the objects of the connection to join are more than the new connection's profile allows, or more than "
           "its owner has room for";
  return nullptr;
}

std::optional<Error> path_error(const std::string& path) {
  std::string what;
  if (path.empty()) what = "the path of the socket is empty";
  if (path.find('\0') != std::string::npos) what = "the path of the socket has a zero byte in it";
  if (path.size() > proto::kMaxSocketPath)
    what = "the path of the socket is too long: it has " + std::to_string(path.size()) + " bytes, at most " +
           std::to_string(proto::kMaxSocketPath) + " are possible: " + path;
  if (what.empty()) return std::nullopt;
  return Error{Error::Kind::kBadPath, what + kNameAnother, 0};
}

// 0 or the error. A connect that a signal interrupted has not begun (AF_UNIX), so the call is repeated.
int connect_to(int fd, const sockaddr_un& address) {
  // The C interface takes every kind of address through this one type.
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);  // NOLINT
  while (connect(fd, generic, sizeof address) != 0) {
    if (errno == EISCONN) return 0;
    if (errno != EINTR) return errno;
  }
  return 0;
}

// False once the deadline has passed. May return early; the caller checks again.
bool wait_readable(int fd, const std::optional<std::chrono::steady_clock::time_point>& deadline) {
  using std::chrono::milliseconds;
  milliseconds wait(-1);
  if (deadline) {
    // Rounded up, so less than a millisecond does not spin; bounded, so the value fits an int.
    wait = std::min(std::chrono::ceil<milliseconds>(*deadline - std::chrono::steady_clock::now()),
                    milliseconds(1'000'000));
    if (wait.count() <= 0) return false;
  }
  pollfd ready{fd, POLLIN, 0};
  poll(&ready, 1, static_cast<int>(wait.count()));
  return true;
}

}  // namespace

tl::expected<base::Fd, Error> connect_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (auto wrong = path_error(path)) return tl::make_unexpected(std::move(*wrong));
  std::memcpy(address.sun_path, path.data(), path.size());

  base::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return tl::make_unexpected(Error{Error::Kind::kSystem, "cannot make a socket: " + reason(errno), 0});
  if (const int error = connect_to(fd.get(), address); error != 0)
    return tl::make_unexpected(connect_error(path, error));
  return fd;
}

Error no_place(const std::string& name) {
  return {Error::Kind::kRefused,
          "tpmspaced at " + name +
              " refuses further connections: limits.connections (in all), limits.connections_per_owner (of one user), "
              "or \"connections\" of a profile, namespace or listener is reached; the log of tpmspaced says which; end "
              "programs that hold connections, or raise the limit in the configuration",
          kNoPlace};
}

Connection::Connection(base::Fd socket, std::string name)
    : socket_(std::move(socket)), name_(std::move(name)), reader_(proto::kMaxFrameSize, proto::kMaxReplySize) {
  struct stat info {};
  if (fstat(fd(), &info) != 0) return;
  device_ = info.st_dev;
  inode_ = info.st_ino;
}

tl::expected<Connection, Error> Connection::open(const std::string& path) {
  auto socket = connect_socket(path);
  if (!socket) return tl::make_unexpected(std::move(socket.error()));
  return adopt(std::move(*socket), path);
}

tl::expected<Connection, Error> Connection::share(int fd) {
  const std::string name = "descriptor " + std::to_string(fd);
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode))
    return tl::make_unexpected(
        Error{Error::Kind::kBadPath, name + " is not a socket; `tpmspace open` passes a socket to its command", 0});
  base::Fd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own) return tl::make_unexpected(Error{Error::Kind::kSystem, name + ": " + reason(errno), 0});
  return adopt(std::move(own), name);
}

Connection Connection::adopt(base::Fd socket, std::string name) {
  return {std::move(socket), std::move(name)};
}

Connection::Deadline Connection::deadline_of(int timeout_ms) {
  if (timeout_ms < 0) return std::nullopt;
  return Clock::now() + std::chrono::milliseconds(timeout_ms);
}

Error Connection::closed() const {
  if (hello_refusal_) return hello_refused(*hello_refusal_);
  return {Error::Kind::kClosed,
          "tpmspaced at " + name_ +
              " closed the connection; the log of tpmspaced says why (it may have been stopped, or refuse further "
              "connections)",
          0};
}

Error Connection::not_our_protocol() const {
  return {Error::Kind::kProtocol,
          "the data from " + name_ + " is not in the protocol of tpmspaced; does another program serve this socket?",
          0};
}

Error Connection::timed_out(int timeout_ms) const {
  return {Error::Kind::kTimeout,
          "tpmspaced at " + name_ + " did not answer within " + std::to_string(timeout_ms) +
              " ms; it may be stopped, or out of descriptors",
          0};
}

tl::unexpected<Error> Connection::broken(Error error) {
  broken_ = error;
  return tl::make_unexpected(std::move(error));
}

tl::expected<void, Error> Connection::write_all(wire::ByteView data) {
  if (broken_) return tl::make_unexpected(*broken_);
  while (!data.empty()) {
    const ssize_t n = ::send(fd(), data.data(), data.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      data = data.subspan(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd ready{fd(), POLLOUT, 0};
      poll(&ready, 1, -1);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return tl::make_unexpected(last_words());
    } else if (errno != EINTR) {
      return broken({Error::Kind::kSystem, "cannot send to tpmspaced at " + name_ + ": " + reason(errno), 0});
    }
  }
  return {};
}

Error Connection::last_words() {
  const Deadline now = Clock::now();
  while (true) {
    const auto more = fill(now);
    if (!more) return more.error();
    if (!*more) return broken(closed()).value();
  }
}

tl::expected<void, Error> Connection::send(wire::ByteView frame) {
  ++sent_;
  if (!to_share_) return write_all(frame);
  // Also behind the last frame: a manager without a place for this connection answers the first frame.
  wire::Writer out;
  out.raw(frame);
  put(out, proto::Share{*to_share_}, Awaited::kNobody);
  to_share_.reset();
  return write_all(out.bytes());
}

tl::expected<std::optional<wire::Bytes>, Error> Connection::receive(int timeout_ms) {
  const Deadline deadline = deadline_of(timeout_ms);
  while (responses_.empty()) {
    const auto more = fill(deadline);
    if (!more) return tl::make_unexpected(more.error());
    if (!*more) return std::nullopt;
  }
  wire::Bytes response = std::move(responses_.front());
  responses_.pop_front();
  return response;
}

tl::expected<bool, Error> Connection::fill(const Deadline& deadline) {
  if (broken_) return tl::make_unexpected(*broken_);
  std::array<std::uint8_t, kReadSize> buffer;
  do {
    if (in_turn_) {
      if (!wait_readable(fd(), deadline)) return false;
      if (!was_last_user(fd())) return tl::make_unexpected(turn_lost());
    }
    const ssize_t n = recv(fd(), buffer.data(), buffer.size(), deadline || in_turn_ ? MSG_DONTWAIT : 0);
    if (n > 0) {
      reader_.feed(wire::ByteView(buffer).first(static_cast<std::size_t>(n)));
      if (const auto sorted = sort_arrivals(); !sorted) return tl::make_unexpected(sorted.error());
      return true;
    }
    if (n == 0 || errno == ECONNRESET) return broken(closed());
    if (errno != EAGAIN && errno != EINTR)
      return broken({Error::Kind::kSystem, "cannot read from tpmspaced at " + name_ + ": " + reason(errno), 0});
  } while (errno == EINTR || wait_readable(fd(), deadline));
  return false;
}

tl::expected<void, Error> Connection::sort_arrivals() {
  while (auto arrival = reader_.next()) {
    if (awaited_mark_) {
      if (auto dropped = drop(*arrival); !dropped) return dropped;
    } else if (auto* response = std::get_if<proto::TpmFrame>(&*arrival)) {
      if (responses_.size() == kMaxKept) return broken(not_our_protocol());
      responses_.push_back(std::move(response->bytes));
    } else if (const auto* control = std::get_if<proto::ControlFrame>(&*arrival)) {
      if (auto sorted = sort_reply(*control); !sorted) return sorted;
    } else {
      return broken(not_our_protocol());
    }
  }
  return {};
}

tl::expected<void, Error> Connection::sort_reply(const proto::ControlFrame& frame) {
  auto reply = proto::decode_reply(frame);
  if (!reply || replies_due_.empty() || proto::type_of(*reply) != replies_due_.front().type)
    return broken(not_our_protocol());
  const Awaited awaited = replies_due_.front().awaited;
  replies_due_.pop_front();
  if (const auto* refusal = std::get_if<proto::Refusal>(&*reply); refusal != nullptr && refusal->type == kHello)
    hello_refusal_ = *refusal;
  if (awaited == Awaited::kCaller) reply_ = std::move(*reply);
  return {};
}

void Connection::put(wire::Writer& out, const proto::Request& request, Awaited awaited) {
  if (!said_hello_ && !std::holds_alternative<proto::Hello>(request)) {
    out.raw(proto::encode(proto::Request(proto::Hello{})));
    replies_due_.push_back({kHello, Awaited::kNobody});
  }
  said_hello_ = true;
  out.raw(proto::encode(request));
  replies_due_.push_back({proto::type_of(request), awaited});
}

tl::expected<void, Error> Connection::post(const proto::Request& request, Awaited awaited) {
  wire::Writer out;
  put(out, request, awaited);
  return write_all(out.bytes());
}

tl::expected<proto::Reply, Error> Connection::call(const proto::Request& request, int timeout_ms) {
  const Deadline deadline = deadline_of(timeout_ms);
  reply_.reset();
  if (const auto sent = post(request, Awaited::kCaller); !sent) return tl::make_unexpected(sent.error());
  while (!reply_) {
    const auto more = fill(deadline);
    if (!more) return tl::make_unexpected(more.error());
    if (*more) continue;
    // This request is the newest, so its late reply has no waiting caller.
    replies_due_.back().awaited = Awaited::kNobody;
    return tl::make_unexpected(timed_out(timeout_ms));
  }
  proto::Reply reply = std::move(*reply_);
  reply_.reset();
  if (const auto* refusal = std::get_if<proto::Refusal>(&reply)) return tl::make_unexpected(refused(*refusal));
  return reply;
}

Error Connection::refused(const proto::Refusal& refusal) const {
  if (hello_refusal_) return hello_refused(*hello_refusal_);
  return {Error::Kind::kRefused, "tpmspaced at " + name_ + " refused with " + hex(refusal.code), refusal.code};
}

Error Connection::hello_refused(const proto::Refusal& refusal) const {
  if (refusal.code == kNoPlace) return no_place(name_);
  std::string what = "tpmspaced at " + name_ + " refused with " + hex(refusal.code);
  if (refusal.code == kOtherVersion && refusal.version != proto::kProtocolVersion)
    what += ": it speaks version " + std::to_string(refusal.version) + " of the protocol and this program version " +
            std::to_string(proto::kProtocolVersion) + "; install both from the same release";
  else if (refusal.code == wire::from_manager(wire::rc::kCommandCode))
    what += ": it does not know this request, so it is older than this program; install both from the same release";
  return {Error::Kind::kRefused, what, refusal.code};
}

template <typename Wanted>
tl::expected<Wanted, Error> Connection::ask(const proto::Request& request, int timeout_ms) {
  auto reply = call(request, timeout_ms);
  if (!reply) return tl::make_unexpected(std::move(reply.error()));
  if (auto* wanted = std::get_if<Wanted>(&*reply)) return std::move(*wanted);
  return broken(not_our_protocol());
}

tl::expected<proto::HelloReply, Error> Connection::hello(int timeout_ms) {
  return ask<proto::HelloReply>(proto::Hello{}, timeout_ms);
}

tl::expected<void, Error> Connection::cancel(int timeout_ms) {
  return ask<proto::CancelReply>(proto::Cancel{}, timeout_ms).map([](const auto&) {});
}

tl::expected<void, Error> Connection::set_locality(std::uint8_t locality, int timeout_ms) {
  return ask<proto::LocalityReply>(proto::Locality{locality}, timeout_ms).map([](const auto&) {});
}

tl::expected<proto::Status, Error> Connection::status(int timeout_ms) {
  return ask<proto::StatusReply>(proto::StatusRequest{}, timeout_ms).map([](auto reply) { return reply.status; });
}

tl::expected<proto::Sessions, Error> Connection::sessions(int timeout_ms) {
  return ask<proto::SessionsReply>(proto::SessionsRequest{}, timeout_ms).map([](auto reply) { return reply.sessions; });
}

tl::expected<std::vector<proto::SessionEntry>, Error> Connection::order(const proto::SessionOrder& what,
                                                                        int timeout_ms) {
  return ask<proto::OrderReply>(proto::OrderRequest{what}, timeout_ms).map([](auto reply) { return reply.sessions; });
}

tl::expected<void, Error> Connection::narrow(const std::string& profile, int timeout_ms) {
  return ask<proto::NarrowReply>(proto::Narrow{profile}, timeout_ms).map([](const auto&) {});
}

tl::expected<proto::Outcome, Error> Connection::reload(int timeout_ms) {
  return ask<proto::ReloadReply>(proto::Reload{}, timeout_ms).map([](auto reply) { return reply.outcome; });
}

tl::expected<std::vector<proto::ListenerEntry>, Error> Connection::listeners(int timeout_ms) {
  return ask<proto::ListenersReply>(proto::ListenersRequest{}, timeout_ms).map([](auto reply) {
    return reply.listeners;
  });
}

tl::expected<proto::Outcome, Error> Connection::change_listener(const proto::ListenerOrder& what, int timeout_ms) {
  return ask<proto::ListenerReply>(proto::ListenerRequest{what}, timeout_ms).map([](auto reply) {
    return reply.outcome;
  });
}

tl::expected<proto::Clients, Error> Connection::clients(std::uint64_t after, int timeout_ms) {
  return ask<proto::ClientsReply>(proto::ClientsRequest{after}, timeout_ms).map([](auto&& reply) {
    return std::move(reply.clients);
  });
}

tl::expected<proto::WhoReport, Error> Connection::who(const proto::WhoQuestion& what, int timeout_ms) {
  return ask<proto::WhoReply>(proto::WhoRequest{what}, timeout_ms).map([](auto&& reply) {
    return std::move(reply.report);
  });
}

tl::expected<std::string, Error> Connection::learn(const std::string& name, int timeout_ms) {
  return ask<proto::LearnReply>(proto::Learn{name}, timeout_ms).map([](auto reply) { return reply.text; });
}

tl::expected<void, Error> Connection::use_chip(const std::string& name, int timeout_ms) {
  return ask<proto::UseChipReply>(proto::UseChip{name}, timeout_ms).map([](const auto&) {}).map_error([&](Error error) {
    if (const char* why = no_such_chip(error.code)) error.what += ": the chip \"" + name + "\" " + why;
    return error;
  });
}

tl::expected<void, Error> Connection::join(const proto::Token& token, std::uint64_t sent, int timeout_ms) {
  return ask<proto::JoinReply>(proto::Join{token, sent}, timeout_ms).map([](const auto&) {}).map_error([](Error error) {
    if (const char* why = no_joining(error.code)) error.what += why;
    return error;
  });
}

tl::expected<void, Error> Connection::post_cancel() {
  return post(proto::Cancel{}, Awaited::kNobody);
}

// --- several processes with one descriptor

tl::expected<void, Error> Connection::begin_turn(int timeout_ms) {
  const Deadline deadline = deadline_of(timeout_ms);
  for (auto pause = std::chrono::microseconds(100); !lock_descriptor(fd());
       pause = std::min(2 * pause, kLongestPause)) {
    if (deadline && Clock::now() >= *deadline)
      return tl::make_unexpected(Error{Error::Kind::kTimeout,
                                       name_ + " is in use by process " + std::to_string(lock_holder(fd())) +
                                           ", which awaits a response, and did not become free within " +
                                           std::to_string(timeout_ms) +
                                           " ms; give each process its own connection (docs/fork.md)",
                                       0});
    const timespec time{0, std::chrono::nanoseconds(pause).count()};
    nanosleep(&time, nullptr);
  }
  if (std::exchange(had_turn_, true) && was_last_user(fd())) {
    in_turn_ = true;
    return {};
  }
  auto ready = drop_what_is_anothers(deadline);
  if (ready)
    mark_as_last_user(fd());
  else
    end_turn();
  in_turn_ = ready.has_value();
  return ready;
}

void Connection::end_turn() {
  in_turn_ = false;
  unlock_descriptor(fd());
}

// The kernel ends the turn of a process when the process closes any descriptor of the socket. Data that arrives then is
// for the next process.
Error Connection::turn_lost() const {
  return {Error::Kind::kSystem,
          name_ +
              " is in use by another process before the response to this process came, because this process closed a "
              "descriptor of the socket; close no descriptor of the socket before the response",
          0};
}

tl::expected<void, Error> Connection::drop_what_is_anothers(const Deadline& deadline) {
  reader_ = proto::FrameReader(proto::kMaxFrameSize, proto::kMaxReplySize);
  responses_.clear();
  replies_due_.clear();
  // Only this call can have sent this mark.
  const auto time = static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
  const std::uint64_t mark = time << 22U | (static_cast<std::uint64_t>(getpid()) & 0x3FFFFFU);
  wire::Writer out;
  out.raw(proto::encode(proto::Request(proto::Hello{}))).raw(proto::encode(proto::Request(proto::Sync{mark})));
  said_hello_ = true;
  if (auto sent = write_all(out.bytes()); !sent) return sent;
  awaited_mark_ = mark;
  while (awaited_mark_) {
    const auto more = fill(deadline);
    if (!more) return tl::make_unexpected(more.error());
    if (!*more)
      return broken({Error::Kind::kTimeout,
                     "a process ended in the middle of a command on " + name_ +
                         ", and tpmspaced does not report the end of the command",
                     0});
  }
  return {};
}

// Unless the arrival is the reply to the mark that this process sent.
tl::expected<void, Error> Connection::drop(const proto::Arrival& arrival) {
  if (std::holds_alternative<proto::TpmFrame>(arrival)) return {};
  const auto* control = std::get_if<proto::ControlFrame>(&arrival);
  const auto reply = control != nullptr ? proto::decode_reply(*control) : std::nullopt;
  if (!reply) return broken(not_our_protocol());
  if (const auto* refusal = std::get_if<proto::Refusal>(&*reply); refusal != nullptr && refusal->type == kSync)
    return broken(hello_refused(*refusal));
  const auto* sync = std::get_if<proto::SyncReply>(&*reply);
  if (sync != nullptr && sync->mark == awaited_mark_) awaited_mark_.reset();
  return {};
}

bool Connection::is_still_there() const {
  struct stat info {};
  return fstat(fd(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
}

void Connection::disown() {
  if (!is_still_there()) (void)socket_.release();
  socket_.reset();
}

void Connection::hand_number_to(Connection& own) {
  if (is_still_there() && dup3(own.fd(), fd(), O_CLOEXEC) >= 0) own.socket_.reset(socket_.release());
  disown();
}

}  // namespace tpmspace::client
