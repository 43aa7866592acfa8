// The pause before a TPM that is gone is tried again: longer each time, up to a limit.
//
// Idea: a restarted software TPM is back after a moment; a TPM that is missing for days must not cost a log line and a
// connection each second. If a TPM served for at least the longest pause, the pauses start over; for a TPM that comes
// and goes they do not. A TPM whose socket appears is tried soon (its server may not listen yet), at most kAppearances
// times within the longest pause, so a TPM that comes and goes costs no more.
// Threads: a value. Units: milliseconds; times are passed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/limits.h"

namespace tpmspace::host {

class RetryPace {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    std::chrono::milliseconds first = limits::kRetryFirst;
    std::chrono::milliseconds most = limits::kRetryMost;
  };

  static constexpr std::chrono::milliseconds kSoon{20};
  static constexpr unsigned kAppearances = 8;

  explicit RetryPace(Limits limits) : limits_(limits), next_(limits.first) {}

  // The TPM serves.
  void came(Clock::time_point now) { since_ = now; }
  // The TPM does not serve, or no longer serves; returns the pause.
  [[nodiscard]] std::chrono::milliseconds left(Clock::time_point now) {
    if (since_ && now - *since_ >= limits_.most) next_ = limits_.first;
    since_.reset();
    const auto out = next_;
    next_ = std::min(2 * next_, limits_.most);
    return out;
  }
  // The TPM's socket appeared: returns the pause before the next try. Nullopt: too many appearances, the previous pause
  // holds.
  [[nodiscard]] std::optional<std::chrono::milliseconds> appeared(Clock::time_point now) {
    if (!appearances_since_ || now - *appearances_since_ >= limits_.most) {
      appearances_since_ = now;
      appearances_ = 0;
    }
    if (appearances_ == kAppearances) return std::nullopt;
    ++appearances_;
    next_ = std::min(2 * kSoon, limits_.most);
    return kSoon;
  }

 private:
  Limits limits_;
  std::chrono::milliseconds next_;
  std::optional<Clock::time_point> since_;
  std::optional<Clock::time_point> appearances_since_;
  unsigned appearances_ = 0;  // since appearances_since_
};

}  // namespace tpmspace::host
