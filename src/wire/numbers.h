// A set of 32-bit numbers: command codes, handles, PCRs, uids, localities. Each list in a profile or a rule is such a
// set.
//
// Idea: ranges in order, with a gap between any two, so a set has only one form, `==` compares sets, and a look-up is a
// binary search without allocation.
// Threads: a value. Limits: none; the reader of a file bounds the size.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace tpmspace::wire {

class Numbers {
 public:
  struct Range {
    std::uint32_t first = 0, last = 0;  // both included; first <= last
    bool operator==(const Range&) const = default;
  };

  Numbers() = default;
  // In any order; ranges may overlap.
  Numbers(std::initializer_list<Range> ranges) : Numbers(std::vector<Range>(ranges)) {}
  explicit Numbers(std::vector<Range> ranges);
  [[nodiscard]] static Numbers all() { return {{0, UINT32_MAX}}; }
  [[nodiscard]] static Numbers one(std::uint32_t number) { return {{number, number}}; }

  [[nodiscard]] bool contains(std::uint32_t number) const { return contains({number, number}); }
  [[nodiscard]] bool contains(Range whole) const;
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] std::span<const Range> ranges() const { return ranges_; }

  [[nodiscard]] Numbers operator~() const;
  friend Numbers operator|(const Numbers& a, const Numbers& b);
  friend Numbers operator&(const Numbers& a, const Numbers& b) { return ~(~a | ~b); }
  friend Numbers operator-(const Numbers& a, const Numbers& b) { return a & ~b; }
  bool operator==(const Numbers&) const = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace tpmspace::wire
