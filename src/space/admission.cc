#include "space/admission.h"

#include <algorithm>

#include "base/invariant.h"

namespace tpmspace::space {

namespace {

std::uint32_t need_of(std::uint32_t held, std::uint32_t claim) {
  return claim > held ? claim - held : 0;
}

}  // namespace

void Bank::add_holder(std::uint32_t held, std::uint32_t claim) {
  if (held == 0) return;
  Bar& bar = by_need_[need_of(held, claim)];
  ++bar.spaces;
  bar.returns += std::min(held, claim);
  free_ -= held;
}

void Bank::remove_holder(std::uint32_t held, std::uint32_t claim) {
  const auto bar = by_need_.find(need_of(held, claim));
  if (!TPMSPACE_HOLDS(bar != by_need_.end())) return;
  bar->second.returns -= std::min(held, claim);
  if (--bar->second.spaces == 0) by_need_.erase(bar);
  free_ += held;
}

void Bank::add_lost(std::uint32_t sessions) {
  free_ -= sessions;
}

bool Bank::is_safe() const {
  std::int64_t free = free_;
  if (free < 0) return false;
  // Every space of a bar needs the same number and gives back at least the lent number, so one space of the bar stands
  // for all.
  for (const auto& [need, bar] : by_need_) {
    if (need > free) return false;
    free += bar.returns;
  }
  return true;
}

bool Bank::admits(std::uint32_t held, std::uint32_t claim) const {
  Bank after = *this;
  if (held > 0) after.remove_holder(held, claim);
  after.add_holder(held + 1, claim);
  return after.is_safe();
}

}  // namespace tpmspace::space
