#include "wire/numbers.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tpmspace::wire {

Numbers::Numbers(std::vector<Range> ranges) : ranges_(std::move(ranges)) {
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  std::size_t kept = 0;
  for (const Range& range : ranges_) {
    // Overlapping or adjacent ranges become one range. No number follows UINT32_MAX.
    if (kept > 0 && (ranges_[kept - 1].last == UINT32_MAX || range.first <= ranges_[kept - 1].last + 1))
      ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
    else
      ranges_[kept++] = range;
  }
  ranges_.resize(kept);
}

bool Numbers::contains(Range whole) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), whole.first,
                                      [](std::uint32_t wanted, const Range& range) { return wanted < range.first; });
  return after != ranges_.begin() && whole.last <= std::prev(after)->last;
}

Numbers Numbers::operator~() const {
  std::vector<Range> out;
  std::uint64_t next = 0;
  for (const Range& range : ranges_) {
    if (next < range.first) out.push_back({static_cast<std::uint32_t>(next), range.first - 1});
    next = std::uint64_t{range.last} + 1;
  }
  if (next <= UINT32_MAX) out.push_back({static_cast<std::uint32_t>(next), UINT32_MAX});
  return Numbers(std::move(out));
}

Numbers operator|(const Numbers& a, const Numbers& b) {
  std::vector<Numbers::Range> both = a.ranges_;
  both.insert(both.end(), b.ranges_.begin(), b.ranges_.end());
  return Numbers(std::move(both));
}

}  // namespace tpmspace::wire
