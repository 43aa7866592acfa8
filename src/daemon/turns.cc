#include "daemon/turns.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/limits.h"

namespace tpmspace::daemon {

Turns::Turns(loop::EventLoop& loop, std::function<bool(host::ClientId)> take)
    : take_(std::move(take)),
      round_(loop.deferred([this] { take_some(); })),
      rest_(loop.timer([this] { take_some(); })) {}

void Turns::put(space::OwnerId owner, host::ClientId connection) {
  queue_.put(owner, connection, std::chrono::steady_clock::now());
  ask_for_round();
}

void Turns::charge(space::OwnerId owner, std::size_t frames) {
  queue_.charge(owner, frames, std::chrono::steady_clock::now());
}

// A connection that has ended takes no turn: a flood of them would keep its owner's other connections waiting.
void Turns::take_some() {
  const auto now = std::chrono::steady_clock::now();
  std::size_t turns = 0;
  for (std::size_t looks = 0; looks < limits::kTurnLooksPerRound && turns < limits::kTurnsPerRound; ++looks) {
    const auto connection = queue_.next(now);
    if (!connection) break;
    if (take_(*connection)) ++turns;
  }
  ask_for_round();
}

void Turns::ask_for_round() {
  if (queue_.is_ready()) return round_.ask();
  if (const auto wake = queue_.wake(); wake && !rest_.armed()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*wake - std::chrono::steady_clock::now());
    rest_.arm(std::max(left, std::chrono::milliseconds(1)));
  }
}

}  // namespace tpmspace::daemon
