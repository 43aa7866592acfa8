#include "loop/acceptor.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/limits.h"

namespace tpmspace::loop {
namespace {

// The next client left already, or a signal came: accept the next client. Any other error would repeat at once.
bool concerns_one_client(int error) {
  return error == ECONNABORTED || error == EINTR || error == EPROTO;
}

}  // namespace

Acceptor::Acceptor(EventLoop& loop, log::Log& log, int fd, Callback callback, std::function<bool()> has_room)
    : log_(log),
      fd_(fd),
      callback_(std::move(callback)),
      has_room_(std::move(has_room)),
      resume_timer_(loop.timer([this] { resume(); })),
      queue_timer_(loop.timer([this] { (void)::listen(fd_, limits::kBacklog); })),
      watch_(loop.idle_watch(fd, EPOLLIN, [this](std::uint32_t) { accept_some(); })) {
  resume();
}

void Acceptor::accept_some() {
  for (unsigned i = 0; i < limits::kAcceptsPerTurn; ++i) {
    if (!has_room_()) return pause();
    if (!accept_one()) return;
    if (++accepted_ >= limits::kBacklog) shorten_queue();
  }
}

void Acceptor::shorten_queue() {
  accepted_ = 0;
  if (!queue_timer_.armed() && ::listen(fd_, limits::kShortBacklog) == 0)
    log_.warning("clients connect faster than tpmspaced can accept; for {} s the kernel queues only {} connections",
                 limits::kShortBacklogFor.count(), limits::kShortBacklog);
  queue_timer_.arm(limits::kShortBacklogFor);
}

bool Acceptor::accept_one() {
  base::Fd client(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (client) {
    shortage_said_ = false;
    callback_(std::move(client));
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    accepted_ = 0;
    return false;
  }
  if (concerns_one_client(errno)) return true;
  pause({errno, std::generic_category()});
  return false;
}

void Acceptor::pause(const std::error_code& error) {
  if (!shortage_said_)
    log_.warning("tpmspaced cannot accept new clients for now: {}; new clients wait until others disconnect",
                 error.message());
  shortage_said_ = true;
  pause();
}

void Acceptor::pause() {
  paused_ = true;
  watch_.stop();
  resume_timer_.arm(limits::kAcceptPause);
}

void Acceptor::resume() {
  paused_ = false;
  resume_timer_.disarm();
  if (const auto error = watch_.start()) pause(error);
}

void Acceptor::finish() {
  for (int i = 0; i < limits::kBacklog && accept_one(); ++i) {
  }
  paused_ = false;
  resume_timer_.disarm();
  watch_.stop();
}

}  // namespace tpmspace::loop
