#include "loop/arrivals.h"

#include <poll.h>

#include <utility>

#include "base/limits.h"

namespace tpmspace::loop {
namespace {

// Both directions are closed, so no client reads a response.
bool has_hung_up(int socket) {
  pollfd watched{.fd = socket, .events = 0, .revents = 0};
  return ::poll(&watched, 1, 0) == 1 && (watched.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

Arrivals::Arrivals(EventLoop& loop, std::size_t most, Callbacks callbacks)
    : most_(most), callbacks_(std::move(callbacks)), turn_(loop.deferred([this] { identify_some(); })) {}

void Arrivals::add(base::Fd socket, const guard::Entrance& entrance, const Listeners::Occupancy& listener) {
  const auto accepted = peer::since_boot();
  if (has_hung_up(socket.get())) return;
  const auto peer = peer::peer_credentials(socket.get());
  if (!peer) return;
  const std::pair user(entrance.listener, callbacks_.user_of(peer->uid));
  if (callbacks_.is_hopeless(*peer, entrance, waiting_.size(user))) return;
  waiting_.put(user, Arrival{std::move(socket), *peer, accepted, entrance, listener});
  turn_.ask();
}

void Arrivals::identify_some() {
  const bool was_full = !has_room();
  unsigned identified = 0, gone = 0;
  while (identified < limits::kIdentificationsPerRound && gone < limits::kHangupsPerRound) {
    auto next = waiting_.next();
    if (!next) break;
    const bool is_gone = has_hung_up(next->socket.get());
    ++(is_gone ? gone : identified);
    if (!is_gone) callbacks_.identify(*std::move(next));
  }
  if (waiting_.size() != 0) turn_.ask();
  if (was_full && has_room()) callbacks_.room_again();
}

}  // namespace tpmspace::loop
