// Whether the machine was asleep since the last look: during sleep CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC stands
// still. Threads: a value of the thread that looks. Units: nanoseconds. The clocks are passed in.
#pragma once

#include <cstdint>
#include <ctime>
#include <functional>
#include <utility>

namespace tpmspace::host {

class SleepClock {
 public:
  using ReadClock = std::function<std::int64_t(clockid_t)>;

  explicit SleepClock(ReadClock read = read_system_clock) : read_(std::move(read)) {}

  bool since_last_look() {
    constexpr std::int64_t kSurely = 500'000'000;  // a shorter difference is the time between the two readings
    const std::int64_t asleep = time_asleep();
    return asleep - std::exchange(before_, asleep) > kSurely;
  }

 private:
  static std::int64_t read_system_clock(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }
  // Since the machine was started, plus the time between the two readings.
  [[nodiscard]] std::int64_t time_asleep() const { return read_(CLOCK_BOOTTIME) - read_(CLOCK_MONOTONIC); }

  ReadClock read_;
  std::int64_t before_ = time_asleep();
};

}  // namespace tpmspace::host
