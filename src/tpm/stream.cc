#include "tpm/stream.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "base/errno_text.h"
#include "wire/command.h"

namespace tpmspace::tpm {
namespace {

using wire::Bytes;
using wire::ByteView;

bool would_block(int number) {
  return number == EAGAIN || number == EWOULDBLOCK;
}

}  // namespace

tl::expected<std::unique_ptr<Stream>, std::string> Stream::open(base::Fd fd, std::string name) {
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0)
    return tl::unexpected(fmt::format("cannot use {}: {}", name, base::errno_text(errno)));
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0)
    return tl::unexpected(fmt::format("cannot use {}: {}", name, base::errno_text(errno)));
  base::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake)
    return tl::unexpected(fmt::format("cannot make an event descriptor for {}: {}", name, base::errno_text(errno)));
  // Not make_unique: the constructor is private.
  return std::unique_ptr<Stream>(new Stream(std::move(fd), std::move(wake), std::move(name), S_ISSOCK(status.st_mode)));
}

wire::Tpm::Answer Stream::exchange(ByteView command) {
  if (auto sent = send_command(command); !sent) return tl::unexpected(sent.error());
  return receive_response();
}

tl::expected<void, Stream::Error> Stream::send_command(ByteView command) {
  if (auto quiet = nothing_unasked(); !quiet) return quiet;
  return send(command);
}

wire::Tpm::Answer Stream::receive_response() {
  // One large read, because a character device drops the bytes that do not fit into the first buffer.
  Bytes response(kMaxMessage);
  std::size_t have = 0, want = wire::kHeaderSize;
  while (have < want) {
    const auto got = read_some(response, have, {});
    if (!got) return tl::unexpected(got.error());
    have += *got;
    if (have < wire::kHeaderSize) continue;
    const auto header = wire::read_header(ByteView(response).first(have));
    if (!header || header->size < wire::kHeaderSize || header->size > kMaxMessage)
      return broken(fmt::format("sent a response that claims to be {} bytes long", header ? header->size : 0));
    want = header->size;
  }
  if (have > want) return broken(fmt::format("sent {} bytes after a response of {}", have - want, want));
  response.resize(have);
  response.shrink_to_fit();
  return response;
}

// A device's poll cannot tell (drivers before Linux 5.0 always report readable); a socket's state can.
tl::expected<void, Stream::Error> Stream::nothing_unasked() {
  if (!why_broken_.empty()) return broken(why_broken_);
  if (!is_socket_) return {};
  std::uint8_t byte = 0;
  ssize_t got = 0;
  do {
    got = ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got > 0) return broken("sent bytes that were not requested");
  if (got == 0) return broken("has closed the connection");
  if (!would_block(errno)) return broken_by_errno("cannot be read", errno);
  return {};
}

tl::expected<void, Stream::Error> Stream::send(ByteView data) {
  if (!why_broken_.empty()) return broken(why_broken_);
  while (!data.empty()) {
    if (hung_up_) return broken("was closed by this process");
    const ssize_t sent = is_socket_ ? ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL)
                                    : ::write(fd_.get(), data.data(), data.size());
    if (sent >= 0) {
      data = data.subspan(static_cast<std::size_t>(sent));
    } else if (would_block(errno)) {
      if (auto ready = wait_for(POLLOUT, {}); !ready) return ready;
    } else if (errno != EINTR) {
      return broken_by_errno("cannot be written to", errno);
    }
  }
  return {};
}

tl::expected<Bytes, Stream::Error> Stream::receive(std::size_t size, std::optional<std::chrono::milliseconds> limit) {
  if (!why_broken_.empty()) return broken(why_broken_);
  Deadline deadline;
  if (limit) deadline = std::chrono::steady_clock::now() + *limit;
  Bytes data(size);
  for (std::size_t have = 0; have < size;) {
    const auto got = read_some(data, have, deadline);
    if (!got) return tl::unexpected(got.error());
    have += *got;
  }
  return data;
}

// Waits for bytes and reads the available bytes, up to the end of `into`. Never returns 0.
tl::expected<std::size_t, Stream::Error> Stream::read_some(Bytes& into, std::size_t at, const Deadline& deadline) {
  for (;;) {
    if (auto ready = wait_for(POLLIN, deadline); !ready) return tl::unexpected(ready.error());
    const ssize_t got = ::read(fd_.get(), into.data() + at, into.size() - at);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0)
      return broken(at == 0 ? "has closed the connection" : fmt::format("ended after {} bytes of a message", at));
    if (errno != EINTR && !would_block(errno)) return broken_by_errno("cannot be read", errno);
  }
}

tl::expected<void, Stream::Error> Stream::wait_for(short events, const Deadline& deadline) {
  std::array<pollfd, 2> waiting{{{fd_.get(), events, 0}, {wake_.get(), POLLIN, 0}}};
  for (;;) {
    if (hung_up_) return broken("was closed by this process");
    int limit = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) {
        auto late = broken("did not answer in time");
        late.value().kind = Error::Kind::kNoAnswer;
        return late;
      }
      limit = static_cast<int>(left.count());
    }
    const int ready = ::poll(waiting.data(), waiting.size(), limit);
    if (ready < 0 && errno != EINTR) return broken_by_errno("cannot be waited for", errno);
    // The next read or write reports the reason of an error or a hang-up.
    if (ready > 0 && waiting[0].revents != 0 && !hung_up_) return {};
  }
}

void Stream::hang_up() {
  hung_up_ = true;
  const std::uint64_t one = 1;
  // Can fail only if already readable, which is the goal.
  if (::write(wake_.get(), &one, sizeof one) < 0) return;
}

tl::unexpected<Stream::Error> Stream::broken(std::string why) {
  why_broken_ = std::move(why);
  return tl::unexpected(Error{Error::Kind::kGone, fmt::format("{} {}", name_, why_broken_)});
}

tl::unexpected<Stream::Error> Stream::broken_by_errno(const char* what, int number) {
  return broken(fmt::format("{}: {}", what, base::errno_text(number)));
}

}  // namespace tpmspace::tpm
