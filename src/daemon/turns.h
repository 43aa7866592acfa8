// Whose turn it is among things that have to be handled, connections or orders: fair between owners.
//
// Idea: owners stand in a circle, each with a line of things. The first thing of the owner that is next has its turn,
// and then its owner stands behind all others: hundreds of things of one owner weigh as one of another's. The things of
// one owner keep their order.
// Threads: of one thread. Limits: the code that puts something in bounds it.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "space/owner.h"

namespace tpmspace::daemon {

template <typename Thing>
class Turns {
 public:
  void put(space::OwnerId owner, Thing thing) {
    auto& line = lines_[owner];
    if (line.empty()) circle_.push_back(owner);
    line.push_back(std::move(thing));
    ++size_;
  }
  [[nodiscard]] std::optional<Thing> next() {
    if (circle_.empty()) return std::nullopt;
    const auto line = lines_.find(circle_.front());
    circle_.pop_front();
    Thing out = std::move(line->second.front());
    line->second.pop_front();
    --size_;
    if (line->second.empty())
      lines_.erase(line);
    else
      circle_.push_back(line->first);
    return out;
  }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::map<space::OwnerId, std::deque<Thing>> lines_;  // none is empty
  std::deque<space::OwnerId> circle_;                  // those of lines_, each once
  std::size_t size_ = 0;
};

}  // namespace tpmspace::daemon
