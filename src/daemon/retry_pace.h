// How long to wait before a TPM that is gone is tried again: longer each time, up to a limit.
//
// Idea: a software TPM that is started anew is there after a moment; one that is not there for days must not cost a
// line and a connection each second. One that served for as long as the longest pause was really there, so the pauses
// begin anew; one that comes and goes does not start over.
// Threads: a value. Units: milliseconds; times are handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "daemon/limits.h"

namespace tpmspace::daemon {

class RetryPace {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    std::chrono::milliseconds first = limits::kRetryFirst;
    std::chrono::milliseconds most = limits::kRetryMost;
  };

  explicit RetryPace(Limits limits) : limits_(limits), next_(limits.first) {}

  // It serves.
  void came(Clock::time_point now) { since_ = now; }
  // It does not, or does not any more; so long is waited.
  [[nodiscard]] std::chrono::milliseconds left(Clock::time_point now) {
    if (since_ && now - *since_ >= limits_.most) next_ = limits_.first;
    since_.reset();
    const auto out = next_;
    next_ = std::min(2 * next_, limits_.most);
    return out;
  }

 private:
  Limits limits_;
  std::chrono::milliseconds next_;
  std::optional<Clock::time_point> since_;
};

}  // namespace tpmspace::daemon
