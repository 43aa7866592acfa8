#include "daemon/turn_queue.h"

#include <algorithm>

#include "base/limits.h"

namespace tpmspace::daemon {

void TurnQueue::put(space::OwnerId owner, host::ClientId connection, Time now) {
  auto& line = lines_[owner];
  line.push_back(connection);
  if (line.size() != 1) return;
  if (const auto end = rest_of(owner, now))
    resting_.emplace(*end, owner);
  else
    circle_.push_back(owner);
}

void TurnQueue::charge(space::OwnerId owner, std::size_t frames, Time now) {
  if (frames == 0) return;
  forget_paid(now);
  const auto former = paid_at_.find(owner);
  const Time since = former == paid_at_.end() ? now : former->second;
  if (former != paid_at_.end()) debts_.erase({since, owner});
  // The owner itself is in debt now.
  paid_at_[owner] = since;
  const auto most = 2 * limits::kFreeFrameBurst;
  const Time paid = std::min(since + price() * std::min(frames, most), now + price() * most);
  paid_at_[owner] = paid;
  debts_.emplace(paid, owner);
}

std::optional<host::ClientId> TurnQueue::next(Time now) {
  forget_paid(now);
  wake_up(now);
  while (!circle_.empty()) {
    const space::OwnerId owner = circle_.front();
    circle_.pop_front();
    if (const auto end = rest_of(owner, now)) {
      resting_.emplace(*end, owner);
      continue;
    }
    const auto line = lines_.find(owner);
    const host::ClientId out = line->second.front();
    line->second.pop_front();
    if (line->second.empty())
      lines_.erase(line);
    else
      circle_.push_back(owner);
    return out;
  }
  return std::nullopt;
}

std::optional<TurnQueue::Time> TurnQueue::wake() const {
  return resting_.empty() ? std::nullopt : std::optional(resting_.begin()->first);
}

std::optional<TurnQueue::Time> TurnQueue::rest_of(space::OwnerId owner, Time now) const {
  const auto debt = paid_at_.find(owner);
  if (debt == paid_at_.end()) return std::nullopt;
  const Time end = debt->second - price() * limits::kFreeFrameBurst;
  return end > now ? std::optional(end) : std::nullopt;
}

std::chrono::nanoseconds TurnQueue::price() const {
  return limits::kFreeFrame * std::max<std::size_t>(paid_at_.size(), 1);
}

void TurnQueue::forget_paid(Time now) {
  while (!debts_.empty() && debts_.begin()->first <= now) {
    paid_at_.erase(debts_.begin()->second);
    debts_.erase(debts_.begin());
  }
}

void TurnQueue::wake_up(Time now) {
  while (!resting_.empty() && resting_.begin()->first <= now) {
    circle_.push_back(resting_.begin()->second);
    resting_.erase(resting_.begin());
  }
}

}  // namespace tpmspace::daemon
