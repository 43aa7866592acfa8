// Whose turn it is among the connections that have something to handle: fair between owners.
//
// Idea: owners stand in a circle, each with a line of connections. The first connection of the owner who is next has
// its turn, and then its owner stands behind all others: hundreds of connections of one owner weigh as one of
// another's. Threads: belongs to the event loop. Limits: a connection stands in it once; whoever puts it there sees to
// that.
#pragma once

#include <deque>
#include <map>
#include <optional>

#include "daemon/tpm_thread.h"
#include "space/owner.h"

namespace tpmspace::daemon {

class Turns {
 public:
  void put(space::OwnerId owner, ClientId client) {
    auto& line = lines_[owner];
    if (line.empty()) circle_.push_back(owner);
    line.push_back(client);
    ++size_;
  }
  [[nodiscard]] std::optional<ClientId> next() {
    if (circle_.empty()) return std::nullopt;
    const auto line = lines_.find(circle_.front());
    circle_.pop_front();
    const ClientId out = line->second.front();
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
  std::map<space::OwnerId, std::deque<ClientId>> lines_;  // none is empty
  std::deque<space::OwnerId> circle_;                     // those of lines_, each once
  std::size_t size_ = 0;
};

}  // namespace tpmspace::daemon
