// Reports a step that takes longer than expected, while the step continues.
//
// Idea: the object lives as long as the step; a thread of its own waits, since the thread in a system call cannot
// report.
// Threads: one, which ends before the destructor does; calls `say` at most once. An empty `say` costs no thread.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "tpm/timer.h"

namespace tpmspace::tpm {

class Overdue {
 public:
  Overdue(std::chrono::milliseconds patience, std::function<void()> say) {
    if (!say) return;
    thread_ = std::thread([this, until = timer_.now() + patience, say = std::move(say)] {
      if (timer_.wait_until(until)) say();
    });
  }
  Overdue(const Overdue&) = delete;
  Overdue& operator=(const Overdue&) = delete;
  ~Overdue() {
    timer_.wake();
    if (thread_.joinable()) thread_.join();
  }

 private:
  SteadyTimer timer_;
  std::thread thread_;
};

}  // namespace tpmspace::tpm
