#include "tpm/swtpm.h"

#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <system_error>

#include "tpm/overdue.h"

namespace tpmspace::tpm {
namespace {

using Error = wire::Tpm::Error;
using wire::Bytes;
using wire::ByteView;

std::string errno_text(int number) {
  return std::generic_category().message(number);
}

constexpr std::chrono::milliseconds kControlLimit{10'000};
constexpr timeval kConnectLimit{10, 0};
// An swtpm that is idle answers at once.
constexpr std::chrono::milliseconds kSilence{1'000};

std::function<void()> tells_waiting(const News& news, const char* channel, const std::string& place) {
  if (!news.waiting) return {};
  return [&news, sentence = fmt::format("waiting for swtpm's {} channel at {}", channel, place)] {
    news.waiting(sentence);
  };
}

// Connects within kConnectLimit: a listener that is alive but does not accept must not hold us for ever. After a signal
// it starts anew with another socket, because what an interrupted connect leaves behind differs between families.
tl::expected<posix::Fd, std::string> connect_within_limit(int family, const sockaddr* address, socklen_t size) {
  constexpr int kAttempts = 16;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    posix::Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return tl::unexpected(errno_text(errno));
    // Bounds connect as well (socket(7)); later reads and writes do not block at all.
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kConnectLimit, sizeof kConnectLimit) != 0)
      return tl::unexpected(errno_text(errno));
    if (::connect(fd.get(), address, size) == 0) return fd;
    if (errno == EAGAIN || errno == EINPROGRESS) return tl::unexpected(std::string("nobody accepts the connection"));
    if (errno != EINTR) return tl::unexpected(errno_text(errno));
  }
  return tl::unexpected(std::string("interrupted by signals again and again"));
}

// The socket calls want a sockaddr*; a cast through void is what their interface asks for.
template <typename Address>
const sockaddr* as_sockaddr(const Address& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

tl::expected<posix::Fd, std::string> connect_unix(const std::string& path, const char* channel, const News& news) {
  const Overdue overdue(kSilence, tells_waiting(news, channel, path));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return tl::unexpected(fmt::format("the path '{}' is too long for a Unix socket: at most {} octets", path,
                                      sizeof address.sun_path - 1));
  path.copy(address.sun_path, path.size());
  auto fd = connect_within_limit(AF_UNIX, as_sockaddr(address), sizeof address);
  if (fd) return fd;
  return tl::unexpected(fmt::format(
      "cannot reach swtpm's {} channel at {}: {}. Start it with 'swtpm socket --tpm2 --tpmstate dir=DIR --server "
      "type=unixio,path=SOCKET --ctrl type=unixio,path=SOCKET.ctrl'",
      channel, path, fd.error()));
}

std::string tcp_place(const std::string& host, std::uint16_t port) {
  return fmt::format("{} port {}", host, port);
}

tl::expected<posix::Fd, std::string> connect_tcp(const std::string& host, std::uint16_t port, const char* channel,
                                                 const News& news) {
  const Overdue overdue(kSilence, tells_waiting(news, channel, tcp_place(host, port)));
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int failure = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &list); failure != 0)
    return tl::unexpected(fmt::format("cannot find the host '{}' of swtpm: {}", host, ::gai_strerror(failure)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
  std::string why = "no address";
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    auto fd = connect_within_limit(at->ai_family, at->ai_addr, at->ai_addrlen);
    if (fd) {
      const int on = 1;
      // A command and its response are one small packet each: waiting to fill one would cost 40 ms.
      if (::setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0) return fd;
      why = errno_text(errno);
    } else {
      why = fd.error();
    }
  }
  return tl::unexpected(
      fmt::format("cannot reach swtpm's {} channel at {} port {}: {}. Start it with 'swtpm socket --tpm2 --tpmstate "
                  "dir=DIR --server "
                  "type=tcp,port=PORT --ctrl type=tcp,port=PORT+1'",
                  channel, host, port, why));
}

}  // namespace

// The control channel. `ask` belongs to the transacting thread; `cancel` is for any thread, never waits and leaves its
// answer to be read by `settle`, which must come before the next `ask` and the next command.
class SwtpmControl {
 public:
  explicit SwtpmControl(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  // The 4-octet result, 0 for success, to a command with `body`.
  tl::expected<std::uint32_t, Error> ask(std::uint32_t command, ByteView body) {
    const std::lock_guard lock(mutex_);
    wire::Writer request;
    request.u32(command).raw(body);
    if (auto sent = stream_->send(request.bytes()); !sent) return tl::unexpected(sent.error());
    return read_u32();
  }
  // What follows a result that is 0.
  tl::expected<std::uint32_t, Error> read_u32() {
    const auto data = stream_->receive(4, kControlLimit);
    if (!data) return tl::unexpected(data.error());
    return wire::Reader(*data).u32().value_or(~0U);
  }

  tl::expected<void, Error> settle() {
    const std::lock_guard lock(mutex_);
    if (!owed_) return {};
    owed_ = false;
    // Whether swtpm could cancel does not matter here: the command's own response tells.
    if (auto answer = read_u32(); !answer) return tl::unexpected(answer.error());
    return {};
  }

  void cancel() {
    const std::lock_guard lock(mutex_);
    // One unanswered cancel is as good as many, and keeps what is owed (and the socket's buffer) bounded.
    if (owed_) return;
    wire::Writer request;
    request.u32(kCancel);
    owed_ = stream_->send(request.bytes()).has_value();
  }

  void hang_up() { stream_->hang_up(); }

  static constexpr std::uint32_t kGetCapability = 1, kInit = 2, kGetEstablished = 4, kSetLocality = 5, kCancel = 9;

 private:
  const std::unique_ptr<Stream> stream_;
  std::mutex mutex_;
  bool owed_ = false;  // guarded by mutex_: a cancel was sent and its answer has not been read
};

namespace {

// A control channel that answers, and a TPM behind it that has power.
tl::expected<void, std::string> make_ready(SwtpmControl& control, const std::string& name) {
  const auto failed = [&name](const std::string& why) {
    return tl::unexpected(fmt::format("{} did not come up: {}", name, why));
  };
  // Two words: a result and the capability flags (older versions: one 64-bit word that looks the same).
  auto known = control.ask(SwtpmControl::kGetCapability, {});
  if (known && *known == 0) known = control.read_u32();
  if (!known) return failed(known.error().what + "; perhaps another program is connected to its control channel");

  // The cheapest question that needs a running TPM.
  auto running = control.ask(SwtpmControl::kGetEstablished, {});
  if (!running) return failed(running.error().what);
  if (*running == 0) {
    if (auto bit = control.read_u32(); !bit) return failed(bit.error().what);
    return {};
  }
  const auto on = control.ask(SwtpmControl::kInit, wire::Writer().u32(0).bytes());
  if (!on) return failed(on.error().what);
  if (*on != 0) return failed(fmt::format("it answered {:#x} to INIT; its own log says why", *on));
  return {};
}

}  // namespace

SwtpmTpm::SwtpmTpm(std::unique_ptr<Stream> data, std::unique_ptr<SwtpmControl> control)
    : data_(std::move(data)), control_(std::move(control)) {}

SwtpmTpm::~SwtpmTpm() = default;

tl::expected<std::unique_ptr<SwtpmTpm>, std::string> SwtpmTpm::connected(posix::Fd data_fd, posix::Fd control_fd,
                                                                         const std::string& name,
                                                                         const std::string& control_place,
                                                                         const News& news) {
  auto data = Stream::open(std::move(data_fd), name);
  if (!data) return tl::unexpected(data.error());
  auto control_stream = Stream::open(std::move(control_fd), fmt::format("the control channel of {}", name));
  if (!control_stream) return tl::unexpected(control_stream.error());
  auto control = std::make_unique<SwtpmControl>(std::move(*control_stream));
  const Overdue overdue(kSilence, tells_waiting(news, "control", control_place));
  if (auto ready = make_ready(*control, name); !ready) return tl::unexpected(ready.error());
  return std::unique_ptr<SwtpmTpm>(new SwtpmTpm(std::move(*data), std::move(control)));
}

tl::expected<std::unique_ptr<SwtpmTpm>, std::string> SwtpmTpm::open(const SwtpmUnixSpec& spec, const News& news) {
  auto data = connect_unix(spec.path, "data", news);
  if (!data) return tl::unexpected(data.error());
  auto control = connect_unix(spec.control, "control", news);
  if (!control) return tl::unexpected(control.error());
  return connected(std::move(*data), std::move(*control), fmt::format("swtpm at {}", spec.path), spec.control, news);
}

tl::expected<std::unique_ptr<SwtpmTpm>, std::string> SwtpmTpm::open(const SwtpmTcpSpec& spec, const News& news) {
  auto data = connect_tcp(spec.host, spec.port, "data", news);
  if (!data) return tl::unexpected(data.error());
  auto control = connect_tcp(spec.host, spec.control_port, "control", news);
  if (!control) return tl::unexpected(control.error());
  return connected(std::move(*data), std::move(*control), fmt::format("swtpm at {}", tcp_place(spec.host, spec.port)),
                   tcp_place(spec.host, spec.control_port), news);
}

wire::Tpm::Answer SwtpmTpm::transact(ByteView command, std::uint8_t locality) {
  if (auto settled = control_->settle(); !settled) return tl::unexpected(settled.error());
  if (auto taken = take_locality(locality); !taken) return tl::unexpected(taken.error());
  if (auto sent = data_->send_command(command); !sent) return tl::unexpected(sent.error());
  {
    // Only now: a cancel that overtakes its command would be lost.
    const std::lock_guard lock(mutex_);
    running_ = true;
  }
  Answer answer = data_->receive_response();
  const std::lock_guard lock(mutex_);
  running_ = false;
  return answer;
}

tl::expected<void, Error> SwtpmTpm::take_locality(std::uint8_t locality) {
  if (locality_ == locality) return {};
  const auto result = control_->ask(SwtpmControl::kSetLocality, wire::Writer().u8(locality).bytes());
  if (!result) return tl::unexpected(result.error());
  if (*result != 0)
    return tl::unexpected(Error{Error::Kind::kNotPossible, fmt::format("{} refuses locality {}: it answered {:#x}",
                                                                       data_->name(), locality, *result)});
  locality_ = locality;
  return {};
}

void SwtpmTpm::cancel() {
  const std::lock_guard lock(mutex_);
  if (running_) control_->cancel();
}

void SwtpmTpm::hang_up() {
  data_->hang_up();
  control_->hang_up();
}

tl::expected<void, std::string> SwtpmTpm::power_cycle() {
  locality_.reset();
  if (auto settled = control_->settle(); !settled) return tl::unexpected(settled.error().what);
  const auto result = control_->ask(SwtpmControl::kInit, wire::Writer().u32(0).bytes());
  if (!result) return tl::unexpected(result.error().what);
  if (*result != 0) return tl::unexpected(fmt::format("{} answered {:#x} to INIT", data_->name(), *result));
  return {};
}

}  // namespace tpmspace::tpm
