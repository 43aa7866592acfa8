#include "daemon/connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/limits.h"

namespace tpmspace::daemon {
namespace {

bool try_later(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

Connection::Connection(loop::EventLoop& loop, Turns& turns, Host& host, base::Fd socket, host::ClientId id,
                       access::ClientIdentity identity, std::optional<wire::Rc> refusal,
                       const wire::CommandTable& table, std::size_t max_command)
    : turns_(turns),
      host_(host),
      id_(id),
      identity_(std::move(identity)),
      socket_(std::move(socket)),
      dialogue_(*this, table, max_command, {.locality = identity_.entrance.locality.value_or(0), .refusal = refusal}),
      watch_(loop.idle_watch(socket_.get(), EPOLLIN, [this](std::uint32_t events) { on_events(events); })) {}

void Connection::on_events(std::uint32_t events) {
  if (over_) return;
  // Both directions are closed: no client will read a response.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return end();
  if ((events & EPOLLIN) != 0 && dialogue_.wants_input() && !read()) return end();
  ask_for_turn();
  update_watch();
}

void Connection::ask_for_turn() {
  if (!std::exchange(has_asked_, true)) turns_.put(identity_.owner, id_);
}

void Connection::turn() {
  has_asked_ = false;
  handle();
}

void Connection::handle() {
  if (over_) return;
  const std::uint64_t answered = dialogue_.answered_here();
  std::size_t long_replies = 0;
  bool alive = true;
  for (std::size_t frames = 0;; ++frames) {
    long_replies += dialogue_.output().size() / limits::kReplyPerFrame;
    alive = flush();
    if (!alive || !dialogue_.output().empty()) break;
    if (frames + long_replies >= limits::kFramesPerTurn) {
      ask_for_turn();
      break;
    }
    if (!dialogue_.step()) break;
  }
  turns_.charge(identity_.owner, static_cast<std::size_t>(dialogue_.answered_here() - answered) + long_replies);
  if (!alive || dialogue_.finished()) return end();
  update_watch();
}

void Connection::send_output() {
  if (!flush() || dialogue_.finished()) return end();
  if (dialogue_.has_frames()) ask_for_turn();
  update_watch();
}

void Connection::deliver(wire::ByteView response) {
  if (over_) return;
  dialogue_.answer(response);
  send_output();
}

void Connection::reply(const proto::Reply& what) {
  if (over_) return;
  dialogue_.reply(what);
  turns_.charge(identity_.owner, dialogue_.output().size() / limits::kReplyPerFrame);
  send_output();
}

void Connection::stop_reading() {
  if (over_) return;
  dialogue_.drop_input();
  handle();
}

bool Connection::read() {
  std::array<std::uint8_t, limits::kReadChunk> chunk;
  const ssize_t n = ::recv(socket_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (n < 0) return try_later(errno);
  if (n == 0)
    dialogue_.end_of_input();
  else
    dialogue_.feed(wire::ByteView(chunk).first(static_cast<std::size_t>(n)));
  return true;
}

bool Connection::flush() {
  while (!dialogue_.output().empty()) {
    const auto output = dialogue_.output();
    const ssize_t n = ::send(socket_.get(), output.data(), output.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return try_later(errno);
    dialogue_.sent(static_cast<std::size_t>(n));
  }
  return true;
}

void Connection::end() {
  over_ = true;
  watch_.stop();  // the callback of the watch may be running now
  socket_.reset();
  host_.over(*this);
}

void Connection::update_watch() {
  if (has_asked_) return watch_.set_events(0);  // until the turn
  const bool pending = !dialogue_.output().empty();
  watch_.set_events((dialogue_.wants_input() ? EPOLLIN : 0U) | (pending ? EPOLLOUT : 0U));
}

}  // namespace tpmspace::daemon
