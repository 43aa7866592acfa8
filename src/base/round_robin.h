// A queue that is fair between keys: owners, users.
//
// Idea: the keys form a circle, and each key has a line of items. `next` takes the first item of the next key, then
// moves the key behind all other keys: hundreds of items of one key weigh as much as one item of another key.
// Threads: a value. Costs: logarithmic in the number of keys.
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
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t size(const Key& key) const {
    const auto line = lines_.find(key);
    return line == lines_.end() ? 0 : line->second.size();
  }

 private:
  std::map<Key, std::deque<Item>> lines_;  // no line is empty
  std::deque<Key> circle_;                 // the keys of lines_, each once
  std::size_t size_ = 0;
};

}  // namespace tpmspace::base
