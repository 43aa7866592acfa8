// Time for the decorators: a clock and a sleep that can be interrupted. Passed in, so that tests need not wait.
//
// Threads: `wait_until` and `clear` belong to the transacting thread; `wake` and `now` are for any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace tpmspace::tpm {

class Timer {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::microseconds;

  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() = default;

  [[nodiscard]] virtual Time now() const = 0;
  // True when `when` is reached; false after a call of `wake` since the last `clear`, even if the call came before the
  // wait: a wake between two steps is not lost.
  [[nodiscard]] virtual bool wait_until(Time when) = 0;
  virtual void wake() = 0;
  virtual void clear() = 0;
};

class SteadyTimer final : public Timer {
 public:
  [[nodiscard]] Time now() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] bool wait_until(Time when) override;
  void wake() override;
  void clear() override;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;  // guarded by mutex_
};

}  // namespace tpmspace::tpm
