// How long to wait before a TPM that is gone is tried again: longer each time, up to a limit.
//
// Idea: a software TPM that is started anew is there after a moment; one that is not there for days must not cost a
// line and a connection each second. One that served for as long as the longest pause was really there, so the pauses
// begin anew; one that comes and goes does not start over. One whose socket appears is tried soon, since it may not
// listen yet; that happens kAppearances times in the longest pause, so that one that comes and goes costs no more.
// Threads: a value. Units: milliseconds; times are handed in.
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
  // Its socket is there: so soon it is tried. Nullopt: too often, so what was said last still holds.
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
  unsigned appearances_ = 0;  // since then
};

}  // namespace tpmspace::host
