#include "queue/fair_queue.h"

#include <algorithm>

namespace tpmspace::queue {

void FairQueue::push(Owner owner, Item item, Priority priority) {
  Line& line = lines_[owner];
  if (line.items.empty()) line.used = std::max(line.used, now_);
  line.items.emplace_back(item, priority);
  ++waiting_;
}

bool FairQueue::remove(Owner owner, Item item) {
  const auto line = lines_.find(owner);
  if (line == lines_.end()) return false;
  auto& items = line->second.items;
  const auto it = std::find_if(items.begin(), items.end(), [item](const auto& one) { return one.first == item; });
  if (it == items.end()) return false;
  items.erase(it);
  --waiting_;
  return true;
}

std::optional<FairQueue::Turn> FairQueue::pop() {
  const auto rank = [](const Line& line) { return std::pair{line.used, line.turn}; };
  auto fair = lines_.end(), first = lines_.end();  // whose turn it is; and who may go before
  for (auto it = lines_.begin(); it != lines_.end(); ++it) {
    if (it->second.items.empty()) continue;
    if (fair == lines_.end() || rank(it->second) < rank(fair->second)) fair = it;
    const auto priority = [](const Line& line) { return line.items.front().second; };
    const bool goes_first = first == lines_.end() || priority(it->second) > priority(first->second) ||
                            (priority(it->second) == priority(first->second) && rank(it->second) < rank(first->second));
    if (goes_first) first = it;
  }
  if (fair == lines_.end()) return std::nullopt;
  const bool passes = first != fair && passed_ < kPassing;
  passed_ = passes ? passed_ + 1 : 0;
  const auto next = passes ? first : fair;
  Line& line = next->second;
  const Turn turn{next->first, line.items.front().first};
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
