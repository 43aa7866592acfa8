// A queue that is fair between keys: owners, users.
//
// Idea: the keys stand in a circle, each with a line of items. The first item of the key that is next is taken, and
// then the key stands behind all others: hundreds of items of one key weigh as one of another's. Threads: a value.
// Costs: logarithmic in the number of keys.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <utility>

namespace tpmspace::base {

template <typename Key, typename Item>
class RoundRobin {
 public:
  void put(const Key& key, Item item) {
    auto& line = lines_[key];
    if (line.empty()) circle_.push_back(key);
    line.push_back(std::move(item));
    ++size_;
  }
  [[nodiscard]] std::optional<Item> next() {
    if (circle_.empty()) return std::nullopt;
    const auto line = lines_.find(circle_.front());
    circle_.pop_front();
    std::optional<Item> out(std::move(line->second.front()));
    line->second.pop_front();
    --size_;
    if (line->second.empty())
      lines_.erase(line);
    else
      circle_.push_back(line->first);
    return out;
  }
  // The first of the next `most` items that `is_there` keeps; the others are dropped.
  template <typename IsThere>
  [[nodiscard]] std::optional<Item> next_that(const IsThere& is_there, std::size_t& most) {
    while (most > 0 && size_ > 0) {
      --most;
      if (auto item = next(); is_there(*item)) return item;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t size(const Key& key) const {
    const auto line = lines_.find(key);
    return line == lines_.end() ? 0 : line->second.size();
  }

 private:
  std::map<Key, std::deque<Item>> lines_;  // none is empty
  std::deque<Key> circle_;                 // those of lines_, each once
  std::size_t size_ = 0;
};

}  // namespace tpmspace::base
