#include "engine/lockout_share.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

namespace tpmspace::engine {

std::uint32_t LockoutShare::quarter() const {
  return std::max(1U, chip_.tries / 4);
}

std::uint64_t LockoutShare::recovered(Time since, Time now) const {
  return chip_.recovery == 0 ? UINT64_MAX : (std::max(now, since) - since) / chip_.recovery;
}

std::uint32_t LockoutShare::failures(Time now) const {
  return all_ - static_cast<std::uint32_t>(std::min<std::uint64_t>(recovered(since_, now), all_));
}

// Owners whose last failure is older lose failures first.
std::uint32_t LockoutShare::failures(Owner owner, Time now) const {
  const auto found = owners_.find(owner);
  if (found == owners_.end()) return 0;
  const Count& own = found->second;
  std::uint64_t forgotten = recovered(forgetting_, now);
  const auto goes_to = [&](const Count& count) { forgotten -= std::min<std::uint64_t>(forgotten, count.failures); };
  if (others_.last <= own.last) goes_to(others_);
  for (const auto& [other, count] : owners_) {
    if (forgotten == 0) break;
    if (std::pair(count.last, other) < std::pair(own.last, owner)) goes_to(count);
  }
  return own.failures - static_cast<std::uint32_t>(std::min<std::uint64_t>(forgotten, own.failures));
}

std::uint32_t LockoutShare::aged_beside(const Count& count, Time now) const {
  return count.failures -
         static_cast<std::uint32_t>(std::min<std::uint64_t>(recovered(count.last, now), count.failures));
}

std::uint32_t LockoutShare::failures_beside(Owner owner, Time now) const {
  const auto found = beside_.find(owner);
  return found == beside_.end() ? 0 : aged_beside(found->second, now);
}

// Whether the table has a place for the owner's next failure; forgotten owners give up their places, the oldest first.
bool LockoutShare::has_place(Owner owner, Time now) const {
  if (owners_.size() < kMaxOwners || owners_.contains(owner)) return true;
  const auto oldest = std::min_element(owners_.begin(), owners_.end(),
                                       [](const auto& a, const auto& b) { return a.second.last < b.second.last; });
  return failures(oldest->first, now) == 0;
}
bool LockoutShare::has_place_beside(Owner owner, Time now) const {
  return beside_.size() < kMaxOwners || beside_.contains(owner) ||
         std::any_of(beside_.begin(), beside_.end(),
                     [&](const auto& one) { return aged_beside(one.second, now) == 0; });
}

bool LockoutShare::may_try(Owner owner, Time now) const {
  return shortage(owner, now) == Shortage::kNone;
}

LockoutShare::Shortage LockoutShare::shortage(Owner owner, Time now) const {
  if (chip_.recovery == 0) return Shortage::kNone;
  const std::uint32_t for_all = chip_.tries - std::min(chip_.tries, reserve());
  const std::uint32_t left = for_all - std::min(for_all, failures(now));
  const std::uint32_t own = failures(owner, now);
  if (own >= share() || failures_beside(owner, now) >= share()) return Shortage::kOwn;
  if (left == 0) return Shortage::kAll;
  if (own >= left) return Shortage::kOwn;  // a share never exceeds the rest for other owners
  return has_place(owner, now) ? Shortage::kNone : Shortage::kAll;
}

// While no owner fails, an owner that may try at some time may try ever after.
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

void LockoutShare::Count::add(Time now) {
  if (failures != UINT32_MAX) ++failures;
  last = std::max(now, last);
}

void LockoutShare::forget(Time now) {
  std::uint64_t forgotten = recovered(forgetting_, now);
  if (forgotten == 0) return;
  forgetting_ += forgotten * chip_.recovery;
  std::vector<std::tuple<Time, std::size_t, Count*>> accounts = {{others_.last, 0, &others_}};
  for (auto& [owner, count] : owners_) accounts.emplace_back(count.last, accounts.size(), &count);
  std::sort(accounts.begin(), accounts.end());
  for (const auto& [last, place, count] : accounts) {
    const auto here = std::min<std::uint64_t>(forgotten, count->failures);
    count->failures -= static_cast<std::uint32_t>(here);
    forgotten -= here;
  }
  std::erase_if(owners_, [](const auto& one) { return one.second.failures == 0; });
}

void LockoutShare::settle(Time now) {
  forget(now);
  all_ = failures(now);
  forgetting_ = since_ = std::max(now, since_);
}

void LockoutShare::failed(Owner owner, Time now) {
  settle(now);
  if (all_ != UINT32_MAX) ++all_;
  (has_place(owner, now) ? owners_[owner] : others_).add(now);
}

void LockoutShare::also_failed(Owner owner, Time now) {
  forget(now);
  if (has_place(owner, now)) owners_[owner].add(now);
}

void LockoutShare::privileged_failed(Time now) {
  settle(now);
  if (all_ != UINT32_MAX) ++all_;
  others_.add(now);
}

// These failures cost the chip nothing, so the number of owners with such failures has no natural bound: a full table
// forgets the oldest entry and stops no owner.
void LockoutShare::failed_beside(Owner owner, Time now) {
  std::erase_if(beside_, [&](const auto& one) { return aged_beside(one.second, now) == 0; });
  if (!has_place_beside(owner, now))
    beside_.erase(std::min_element(beside_.begin(), beside_.end(),
                                   [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  Count& count = beside_[owner];
  count.failures = aged_beside(count, now);
  count.add(now);
}

void LockoutShare::counter_read(std::uint32_t counter, Time now) {
  forget(now);
  all_ = counter;
  since_ = std::max(now, since_);  // the start of the chip's recovery time is unknown: at the latest now
  if (counter == 0) owners_.clear();
  std::uint64_t known = 0;
  for (const auto& [owner, count] : owners_) known += count.failures;
  others_ = {static_cast<std::uint32_t>(counter - std::min<std::uint64_t>(counter, known)), now};
}

void LockoutShare::forgive(Time now) {
  counter_read(0, now);
  beside_.clear();
}

void LockoutShare::chip_changed(const Chip& chip, Time now) {
  if (chip == chip_) return;  // otherwise each query would restart the recovery times
  settle(now);
  for (auto& [owner, count] : beside_) count = {aged_beside(count, now), now};
  chip_ = chip;
}

}  // namespace tpmspace::engine
