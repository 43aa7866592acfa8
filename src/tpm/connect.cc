#include "tpm/connect.h"

#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/errno_text.h"

namespace tpmspace::tpm {
namespace {

using Clock = std::chrono::steady_clock;
using Fault = tl::unexpected<std::string>;

constexpr const char* kNobodyAccepts = "the connection is not accepted";
constexpr const char* kGivenUp = "this process gave up";
// How often a full Unix socket is tried again.
constexpr std::chrono::milliseconds kTryAgain{20};

// Waits for a descriptor, a moment, or the end by `given_up`.
class Patience {
 public:
  explicit Patience(const std::stop_token& given_up)
      : given_up_(given_up),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        on_give_up_(given_up, Wake{wake_.get()}) {}

  [[nodiscard]] bool given_up() const { return given_up_.stop_requested(); }
  // False: the time is over. `fd` -1: waits only for the time.
  [[nodiscard]] bool wait(int fd, short events, Clock::time_point until) const {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      if (left <= 0) return false;
      std::array<pollfd, 2> waiting{{{fd, events, 0}, {wake_.get(), POLLIN, 0}}};
      if (::poll(waiting.data(), waiting.size(), static_cast<int>(left)) > 0) return true;
    }
  }

 private:
  struct Wake {
    int fd;
    void operator()() const { ::eventfd_write(fd, 1); }
  };
  const std::stop_token given_up_;
  const base::Fd wake_;  // -1 if no descriptors are left: then only the limit ends a wait
  const std::stop_callback<Wake> on_give_up_;
};

// The result of a connect that was begun.
int result_of(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

tl::expected<base::Fd, std::string> connect_within_limit(int family, const sockaddr* address, socklen_t size,
                                                         const std::stop_token& given_up) {
  base::Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Fault(base::errno_text(errno));
  const Patience patience(given_up);
  const auto end = Clock::now() + kConnectLimit;
  for (;;) {
    if (patience.given_up()) return Fault(kGivenUp);
    if (::connect(fd.get(), address, size) == 0) return fd;
    const int error = errno;
    if (error == EINPROGRESS) break;
    if (error != EAGAIN && error != EINTR) return Fault(base::errno_text(error));
    if (Clock::now() >= end) return Fault(kNobodyAccepts);
    (void)patience.wait(-1, 0, std::min(end, Clock::now() + kTryAgain));
  }
  const bool settled = patience.wait(fd.get(), POLLOUT, end);
  if (patience.given_up()) return Fault(kGivenUp);
  if (!settled) return Fault(kNobodyAccepts);
  if (const int error = result_of(fd.get()); error != 0) return Fault(base::errno_text(error));
  return fd;
}

// The socket functions take a sockaddr*; their interface requires a cast through void.
template <typename Address>
const sockaddr* as_sockaddr(const Address& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

// --- Hosts

std::atomic<unsigned> lookups = 0;

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

struct Lookup {
  std::mutex mutex;
  std::condition_variable_any done;
  bool is_done = false;  // guarded by mutex, as the members below
  int failure = 0;
  Addresses addresses;
};

void look_up(Lookup& into, const std::string& host, std::uint16_t port) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &list);
  const std::lock_guard lock(into.mutex);
  into.addresses.reset(failure == 0 ? list : nullptr);
  into.failure = failure;
  into.is_done = true;
  into.done.notify_all();
}

tl::expected<Addresses, std::string> addresses_of(const std::string& host, std::uint16_t port,
                                                  const std::stop_token& given_up) {
  auto lookup = std::make_shared<Lookup>();
  ++lookups;
  try {
    std::thread([lookup, host, port]() mutable {
      look_up(*lookup, host, port);
      lookup.reset();
      --lookups;
    }).detach();
  } catch (const std::system_error& e) {
    --lookups;
    return Fault(e.what());
  }
  std::unique_lock lock(lookup->mutex);
  if (!lookup->done.wait(lock, given_up, [&] { return lookup->is_done; })) return Fault(kGivenUp);
  if (lookup->failure != 0) return Fault(fmt::format("the host is not found: {}", ::gai_strerror(lookup->failure)));
  return std::move(lookup->addresses);
}

}  // namespace

tl::expected<base::Fd, std::string> connect_unix(const std::string& path, const std::stop_token& given_up) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Fault(fmt::format("the path is too long for a Unix socket: at most {} bytes", sizeof address.sun_path - 1));
  path.copy(address.sun_path, path.size());
  return connect_within_limit(AF_UNIX, as_sockaddr(address), sizeof address, given_up);
}

tl::expected<base::Fd, std::string> connect_tcp(const std::string& host, std::uint16_t port,
                                                const std::stop_token& given_up) {
  const auto addresses = addresses_of(host, port, given_up);
  if (!addresses) return Fault(addresses.error());
  std::string why = "no address";
  for (const addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next) {
    auto fd = connect_within_limit(at->ai_family, at->ai_addr, at->ai_addrlen, given_up);
    if (fd) {
      const int on = 1;
      // A command and its response are one small packet each: waiting for more data would cost 40 ms.
      if (::setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0) return fd;
      why = base::errno_text(errno);
    } else {
      why = fd.error();
    }
  }
  return Fault(why);
}

bool any_lookup_left_behind() {
  return lookups != 0;
}

}  // namespace tpmspace::tpm
