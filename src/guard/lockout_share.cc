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

std::uint32_t LockoutShare::failures_in(const Counts& counts, Owner owner, Time now) const {
  const auto found = counts.find(owner);
  return found == counts.end() ? 0 : aged(found->second, now);
}

std::uint32_t LockoutShare::failures(Owner owner, Time now) const {
  return failures_in(owners_, owner, now);
}
std::uint32_t LockoutShare::failures_beside(Owner owner, Time now) const {
  return failures_in(beside_, owner, now);
}
std::uint32_t LockoutShare::failures(Time now) const {
  return aged(all_, now);
}

// For the owner's next failure; those that are forgotten give theirs up.
bool LockoutShare::has_place(const Counts& counts, Owner owner, Time now) const {
  return counts.size() < kMaxOwners || counts.contains(owner) ||
         std::any_of(counts.begin(), counts.end(), [&](const auto& one) { return aged(one.second, now) == 0; });
}

bool LockoutShare::may_try(Owner owner, Time now) const {
  if (chip_.recovery == 0) return true;
  const std::uint32_t for_all = chip_.tries - std::min(chip_.tries, reserve());
  const std::uint32_t left = for_all - std::min(for_all, failures(now));
  const std::uint32_t own = failures(owner, now);
  if (own >= share() || own >= left || failures_beside(owner, now) >= share()) return false;
  return has_place(owners_, owner, now);
}

// While nobody fails, what may be tried at some time may be tried ever after.
LockoutShare::Time LockoutShare::wait(Owner owner, Time now) const {
  Time too_early = 0, late_enough = UINT64_MAX - now;
  if (may_try(owner, now)) return 0;
  if (!may_try(owner, now + late_enough)) return UINT64_MAX;
  while (late_enough - too_early > 1) {
    const Time between = too_early + (late_enough - too_early) / 2;
    (may_try(owner, now + between) ? late_enough : too_early) = between;
  }
  return late_enough;
}

void LockoutShare::add_failure(Count& count, Time now) const {
  count.failures = aged(count, now);
  if (count.failures != UINT32_MAX) ++count.failures;
  count.since = std::max(now, count.since);
}

void LockoutShare::add_failure(Counts& counts, Owner owner, Time now) const {
  std::erase_if(counts, [&](const auto& one) { return aged(one.second, now) == 0; });
  if (counts.size() < kMaxOwners || counts.contains(owner)) add_failure(counts[owner], now);
}

void LockoutShare::failed(Owner owner, Time now) {
  privileged_failed(now);
  add_failure(owners_, owner, now);
}

void LockoutShare::privileged_failed(Time now) {
  add_failure(all_, now);
}

// These cost the chip nothing, so nothing bounds how many owners have some: a full table forgets the oldest, and stops
// nobody.
void LockoutShare::failed_beside(Owner owner, Time now) {
  if (!has_place(beside_, owner, now))
    beside_.erase(std::min_element(beside_.begin(), beside_.end(),
                                   [](const auto& a, const auto& b) { return a.second.since < b.second.since; }));
  add_failure(beside_, owner, now);
}

void LockoutShare::counter_read(std::uint32_t counter, Time now) {
  all_ = {counter, now};  // when its recovery time began nobody tells: at the latest now
  if (counter == 0) owners_.clear();
}

void LockoutShare::forgive(Time now) {
  counter_read(0, now);
  beside_.clear();
}

void LockoutShare::chip_changed(const Chip& chip, Time now) {
  if (chip == chip_) return;  // else whoever asks for them would begin recovery times anew
  all_ = {aged(all_, now), now};
  for (Counts* counts : {&owners_, &beside_})
    for (auto& [owner, count] : *counts) count = {aged(count, now), now};
  chip_ = chip;
}

}  // namespace tpmspace::guard
