#include "queue/fair_queue.h"

#include <algorithm>

namespace tpmspace::queue {

void FairQueue::push(Owner owner, Item item) {
  Line& line = lines_[owner];
  if (line.items.empty()) line.used = std::max(line.used, now_);
  line.items.push_back(item);
  ++waiting_;
}

bool FairQueue::remove(Owner owner, Item item) {
  const auto line = lines_.find(owner);
  if (line == lines_.end()) return false;
  auto& items = line->second.items;
  const auto it = std::find(items.begin(), items.end(), item);
  if (it == items.end()) return false;
  items.erase(it);
  --waiting_;
  return true;
}

std::optional<FairQueue::Turn> FairQueue::pop() {
  auto next = lines_.end();
  for (auto it = lines_.begin(); it != lines_.end(); ++it) {
    if (it->second.items.empty()) continue;
    const auto rank = [](const Line& line) { return std::pair{line.used, line.turn}; };
    if (next == lines_.end() || rank(it->second) < rank(next->second)) next = it;
  }
  if (next == lines_.end()) return std::nullopt;
  Line& line = next->second;
  const Turn turn{next->first, line.items.front()};
  line.items.pop_front();
  line.turn = ++turns_;
  now_ = std::max(now_, line.used);
  --waiting_;
  forget_idle_owners();
  return turn;
}

void FairQueue::charge(Owner owner, std::uint64_t nanoseconds) {
  // An owner that was forgotten meanwhile has had its turn all the same.
  Line& line = lines_[owner];
  line.used = std::max(line.used, now_) + nanoseconds;
}

void FairQueue::forget_idle_owners() {
  std::erase_if(lines_, [this](const auto& entry) { return entry.second.items.empty() && entry.second.used < now_; });
}

}  // namespace tpmspace::queue
