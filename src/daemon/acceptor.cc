#include "daemon/acceptor.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "daemon/limits.h"

namespace tpmspace::daemon {
namespace {

// The client that was next is gone, or a signal came: the next one, please. Anything else would come again at once.
bool concerns_one_client(int error) {
  return error == ECONNABORTED || error == EINTR || error == EPROTO;
}

}  // namespace

Acceptor::Acceptor(EventLoop& loop, Log& log, int fd, Callback callback)
    : log_(log),
      fd_(fd),
      callback_(std::move(callback)),
      resume_timer_(loop.timer([this] { resume(); })),
      watch_(loop.idle_watch(fd, EPOLLIN, [this](std::uint32_t) { accept_some(); })) {
  resume();
}

void Acceptor::accept_some() {
  for (unsigned i = 0; i < limits::kAcceptsPerTurn; ++i) {
    posix::Fd client(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) {
      shortage_said_ = false;
      callback_(std::move(client));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (!concerns_one_client(errno)) return pause({errno, std::generic_category()});
  }
}

void Acceptor::pause(const std::error_code& error) {
  if (!shortage_said_)
    log_.warning("no new clients can be accepted for now: {}; they wait until others leave", error.message());
  shortage_said_ = true;
  paused_ = true;
  watch_.stop();
  resume_timer_.arm(limits::kAcceptPause);
}

void Acceptor::resume() {
  paused_ = false;
  resume_timer_.disarm();
  if (const auto error = watch_.start()) pause(error);
}

void Acceptor::stop() {
  paused_ = false;
  resume_timer_.disarm();
  watch_.stop();
}

}  // namespace tpmspace::daemon
