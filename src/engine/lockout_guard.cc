#include "engine/lockout_guard.h"

namespace tpmspace::engine {

namespace {

guard::LockoutShare::Chip chip_with(std::uint32_t max_auth_fail, std::uint32_t interval) {
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
  return !limits.shares_tries || shares_.may_try(owner.value, now) ? space::Tries::kLeft : space::Tries::kNone;
}

bool LockoutGuard::note(space::OwnerId owner, const space::SpaceLimits& limits, space::Failure failure, Time now) {
  switch (failure) {
    case space::Failure::kNone:
      return false;
    case space::Failure::kCounted:
      if (limits.shares_tries)
        shares_.failed(owner.value, now);
      else
        shares_.privileged_failed(now);
      return true;
    case space::Failure::kBeside:
      if (limits.shares_tries) shares_.failed_beside(owner.value, now);
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
