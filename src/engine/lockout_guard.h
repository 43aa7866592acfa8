// The owners' shares of wrong tries, for one engine, updated after each step.
//
// Idea: engine/lockout_share counts; the manager knows which authorizations failed and what the chip reported. The
// guard connects both.
// Threads: with the engine. Units: nanoseconds of the engine's clock. Not part of the books: with restored books, all
// shares begin at the chip's counter.
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
  // For an owner without tries left: whether its own share, or the share of an owner that the client may be, is used
  // up, and not the common sum.
  [[nodiscard]] bool is_out_of_own_share(space::OwnerId owner, const space::SpaceLimits& limits, Time now) const;
  [[nodiscard]] std::uint32_t interval() const { return interval_; }  // seconds
  // Notes the result of an owner's command. True: the command cost a try of the owner or of the chip.
  bool note(space::OwnerId owner, const space::SpaceLimits& limits, space::Failure failure, Time now);
  void learn(const space::LockoutNews& news, Time now);

  [[nodiscard]] const LockoutShare& shares() const { return shares_; }

 private:
  std::uint32_t max_auth_fail_, interval_;  // the chip's, seconds
  LockoutShare shares_;
};

}  // namespace tpmspace::engine
