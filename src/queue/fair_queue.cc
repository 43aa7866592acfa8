#include "queue/fair_queue.h"

#include <algorithm>
#include <limits>

#include "base/invariant.h"

namespace tpmspace::queue {

FairQueue::Urgency FairQueue::urgency_of(Lines::const_reference line) {
  return {std::numeric_limits<Priority>::max() - line.second.items.begin()->second.priority, rank_of(line)};
}

void FairQueue::take_out(Lines::const_reference line) {
  ++looked_at_;
  if (line.second.items.empty()) {
    idle_.erase(rank_of(line));
    return;
  }
  by_rank_.erase(rank_of(line));
  by_urgency_.erase(urgency_of(line));
}

void FairQueue::file(Lines::const_reference line) {
  if (line.second.items.empty()) {
    idle_.insert(rank_of(line));
    return;
  }
  by_rank_.insert(rank_of(line));
  by_urgency_.insert(urgency_of(line));
}

void FairQueue::put(Owner owner, Item item, Priority priority, Place place) {
  TPMSPACE_ASSERT(places_.count(item) == 0);
  const auto line = lines_.try_emplace(owner).first;
  take_out(*line);
  if (line->second.items.empty()) line->second.used = std::max(line->second.used, now_);
  line->second.items.emplace(place, Waiting{item, priority});
  places_.emplace(item, place);
  file(*line);
}

bool FairQueue::remove(Owner owner, Item item) {
  const auto line = lines_.find(owner);
  const auto place = places_.find(item);
  if (line == lines_.end() || place == places_.end() || line->second.items.count(place->second) == 0) return false;
  take_out(*line);
  line->second.items.erase(place->second);
  places_.erase(place);
  file(*line);
  return true;
}

std::optional<FairQueue::Turn> FairQueue::pop() {
  if (by_rank_.empty()) return std::nullopt;
  const Owner fair = std::get<2>(*by_rank_.begin()), first = std::get<2>(by_urgency_.begin()->second);
  const bool passes = first != fair && passed_ < kPassing;
  passed_ = passes ? passed_ + 1 : 0;
  const auto next = lines_.find(passes ? first : fair);
  // With a wrong index, a client's command could run in the turn of another client's.
  TPMSPACE_ASSERT(next != lines_.end() && !next->second.items.empty());
  take_out(*next);
  Line& line = next->second;
  const Turn turn{next->first, line.items.begin()->second.item};
  line.items.erase(line.items.begin());
  places_.erase(turn.item);
  line.turn = ++turns_;
  now_ = std::max(now_, line.used);
  file(*next);
  forget_idle_owners();
  return turn;
}

void FairQueue::charge(Owner owner, std::uint64_t nanoseconds) {
  // A forgotten owner has had its turn all the same.
  const auto line = lines_.try_emplace(owner).first;
  take_out(*line);
  line->second.used = std::max(line->second.used, now_) + nanoseconds;
  file(*line);
}

// An owner is forgotten at most once for each return.
void FairQueue::forget_idle_owners() {
  while (!idle_.empty() && std::get<0>(*idle_.begin()) < now_) {
    lines_.erase(std::get<2>(*idle_.begin()));
    idle_.erase(idle_.begin());
    ++looked_at_;
  }
}

}  // namespace tpmspace::queue
