#include "engine/lockout_guard.h"

#include <algorithm>

namespace tpmspace::engine {

namespace {

LockoutShare::Chip chip_with(std::uint32_t max_auth_fail, std::uint32_t interval) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  return {.tries = max_auth_fail, .recovery = interval * kSecond};
}

}  // namespace

LockoutGuard::LockoutGuard(const space::Chip& chip, Time now)
    : max_auth_fail_(chip.max_auth_fail),
      interval_(chip.lockout_interval),
      shares_(chip_with(chip.max_auth_fail, chip.lockout_interval)) {
  shares_.counter_read(chip.lockout_counter, now);
}

space::Tries LockoutGuard::tries_of(space::OwnerId owner, const space::SpaceLimits& limits, Time now) const {
  if (!limits.shares_tries) return space::Tries::kLeft;
  const auto may_try = [&](space::OwnerId one) { return shares_.may_try(one.value, now); };
  const bool left = may_try(owner) && std::all_of(limits.may_be.begin(), limits.may_be.end(), may_try);
  return left ? space::Tries::kLeft : space::Tries::kNone;
}

bool LockoutGuard::is_out_of_own_share(space::OwnerId owner, const space::SpaceLimits& limits, Time now) const {
  const auto is_out = [&](space::OwnerId one) {
    return shares_.shortage(one.value, now) == LockoutShare::Shortage::kOwn;
  };
  return is_out(owner) || std::any_of(limits.may_be.begin(), limits.may_be.end(), is_out);
}

bool LockoutGuard::note(space::OwnerId owner, const space::SpaceLimits& limits, space::Failure failure, Time now) {
  switch (failure) {
    case space::Failure::kNone:
      return false;
    case space::Failure::kCounted:
      if (!limits.shares_tries) {
        shares_.privileged_failed(now);
        return true;
      }
      shares_.failed(owner.value, now);
      for (const space::OwnerId one : limits.may_be) shares_.also_failed(one.value, now);
      return true;
    case space::Failure::kBeside:
      if (!limits.shares_tries) return true;
      shares_.failed_beside(owner.value, now);
      for (const space::OwnerId one : limits.may_be) shares_.failed_beside(one.value, now);
      return true;
  }
  return false;
}

void LockoutGuard::learn(const space::LockoutNews& news, Time now) {
  if (news.max_auth_fail || news.lockout_interval) {
    max_auth_fail_ = news.max_auth_fail.value_or(max_auth_fail_);
    interval_ = news.lockout_interval.value_or(interval_);
    shares_.chip_changed(chip_with(max_auth_fail_, interval_), now);
  }
  if (news.counter_was_reset) shares_.forgive(now);
  if (news.lockout_counter) shares_.counter_read(*news.lockout_counter, now);
}

}  // namespace tpmspace::engine
