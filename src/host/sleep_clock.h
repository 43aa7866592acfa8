// Whether the machine was asleep since the last look: CLOCK_BOOTTIME goes on then, CLOCK_MONOTONIC stands still.
// Threads: a value of the thread that looks.
#pragma once

#include <cstdint>
#include <ctime>
#include <utility>

namespace tpmspace::host {

class SleepClock {
 public:
  bool since_last_look() {
    constexpr std::int64_t kSurely = 500'000'000;  // what is shorter is the time between the two readings
    const std::int64_t asleep = nanoseconds(CLOCK_BOOTTIME) - nanoseconds(CLOCK_MONOTONIC);
    return asleep - std::exchange(before_, asleep) > kSurely;
  }

 private:
  static std::int64_t nanoseconds(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }
  std::int64_t before_ = nanoseconds(CLOCK_BOOTTIME) - nanoseconds(CLOCK_MONOTONIC);
};

}  // namespace tpmspace::host
