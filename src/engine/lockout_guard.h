// The shares of wrong tries, for one engine: told what happened in each step.
//
// Idea: engine/lockout_share counts, the manager knows what was tried and what the chip said; here the two meet.
// Threads: with the engine. Units: nanoseconds of the engine's clock. Not part of the books: with restored ones all
// begin at what the chip's counter says then.
#pragma once

#include <cstdint>

#include "books/chip.h"
#include "books/owner.h"
#include "engine/lockout_share.h"
#include "space/manager.h"

namespace tpmspace::engine {

class LockoutGuard {
 public:
  using Time = std::uint64_t;

  LockoutGuard(const space::Chip& chip, Time now);

  [[nodiscard]] space::Tries tries_of(space::OwnerId owner, const space::SpaceLimits& limits, Time now) const;
  // Of an owner that has none left: its own share is used up, or that of an owner that the client may be; not what all
  // owners have together.
  [[nodiscard]] bool is_out_of_own_share(space::OwnerId owner, const space::SpaceLimits& limits, Time now) const;
  [[nodiscard]] std::uint32_t interval() const { return interval_; }  // seconds
  // A command of that owner was wrong, or not. True: it cost him one of his tries, or the chip one.
  bool note(space::OwnerId owner, const space::SpaceLimits& limits, space::Failure failure, Time now);
  void learn(const space::LockoutNews& news, Time now);

  [[nodiscard]] const LockoutShare& shares() const { return shares_; }

 private:
  std::uint32_t max_auth_fail_, interval_;  // the chip's, seconds
  LockoutShare shares_;
};

}  // namespace tpmspace::engine
