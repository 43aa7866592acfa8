#include "guard/lockout_share.h"

#include <algorithm>

namespace tpmspace::guard {

std::uint32_t LockoutShare::quarter() const {
  return std::max(1U, chip_.tries / 4);
}

std::uint32_t LockoutShare::aged(const Count& count, Time now) const {
  if (chip_.recovery == 0) return 0;
  const Time recovered = (std::max(now, count.since) - count.since) / chip_.recovery;
  return count.failures - static_cast<std::uint32_t>(std::min<Time>(recovered, count.failures));
}

std::uint32_t LockoutShare::failures(Owner owner, Time now) const {
  const auto found = owners_.find(owner);
  return found == owners_.end() ? 0 : aged(found->second, now);
}
std::uint32_t LockoutShare::failures(Time now) const {
  return aged(all_, now);
}

// Precondition: the chip recovers.
LockoutShare::Time LockoutShare::until_below(const Count& count, std::uint32_t limit, Time now) const {
  if (limit == 0) return UINT64_MAX;
  if (aged(count, now) < limit) return 0;
  const Time intervals = Time{count.failures} - limit + 1;
  if (intervals > (UINT64_MAX - count.since) / chip_.recovery) return UINT64_MAX;
  return count.since + intervals * chip_.recovery - now;
}

// A place in the table for one more owner.
LockoutShare::Time LockoutShare::until_place(Time now) const {
  if (owners_.size() < kMaxOwners) return 0;
  Time first = UINT64_MAX;
  for (const auto& [owner, count] : owners_) first = std::min(first, until_below(count, 1, now));
  return first;
}

LockoutShare::Time LockoutShare::wait(Owner owner, Time now) const {
  if (chip_.recovery == 0) return 0;
  const auto found = owners_.find(owner);
  return std::max(until_below(all_, chip_.tries - std::min(chip_.tries, reserve()), now),
                  found == owners_.end() ? until_place(now) : until_below(found->second, share(), now));
}

bool LockoutShare::may_try(Owner owner, Time now) const {
  return wait(owner, now) == 0;
}

void LockoutShare::add_failure(Count& count, Time now) const {
  count.failures = aged(count, now);
  if (count.failures != UINT32_MAX) ++count.failures;
  count.since = std::max(now, count.since);
}

void LockoutShare::failed(Owner owner, Time now) {
  privileged_failed(now);
  forget_recovered(now);
  if (owners_.size() < kMaxOwners || owners_.contains(owner)) add_failure(owners_[owner], now);
}

void LockoutShare::privileged_failed(Time now) {
  add_failure(all_, now);
}

void LockoutShare::forget_recovered(Time now) {
  std::erase_if(owners_, [&](const auto& one) { return aged(one.second, now) == 0; });
}

void LockoutShare::counter_read(std::uint32_t counter, Time now) {
  all_ = {counter, now};  // when its recovery time began nobody tells: at the latest now
  if (counter == 0) owners_.clear();
}

void LockoutShare::chip_changed(const Chip& chip, Time now) {
  all_ = {aged(all_, now), now};
  for (auto& [owner, count] : owners_) count = {aged(count, now), now};
  chip_ = chip;
}

}  // namespace tpmspace::guard
