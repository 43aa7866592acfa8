// The two queues between the event loop and a TPM's thread: commands in, answers out.
//
// Idea: `Inbox` wakes a thread that sleeps on a condition variable; `Outbox` wakes an event loop through an eventfd.
// `take` hands over all items at once, in order. The writers bound the length of both queues: see limits::kOrders.
// Threads: every method from any thread; `take` and `wait` from the one reader.
#pragma once

#include <sys/eventfd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace tpmspace::base {

template <typename T>
class Inbox {
 public:
  void put(T item) {
    {
      const std::lock_guard lock(mutex_);
      items_.push_back(std::move(item));
    }
    arrived_.notify_one();
  }
  [[nodiscard]] std::vector<T> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }
  // Returns when an item is present, or when the time has come.
  void wait(std::optional<std::chrono::steady_clock::time_point> until) {
    std::unique_lock lock(mutex_);
    const auto there = [this] { return !items_.empty(); };
    if (until)
      arrived_.wait_until(lock, *until, there);
    else
      arrived_.wait(lock, there);
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<T> items_;  // guarded by mutex_
};

template <typename T>
class Outbox {
 public:
  Outbox() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!wake_) throw std::system_error(errno, std::generic_category(), "eventfd");
  }

  void put(T item) {
    bool was_empty = false;
    {
      const std::lock_guard lock(mutex_);
      was_empty = items_.empty();
      items_.push_back(std::move(item));
    }
    // Fails only when the counter is full; then the eventfd is readable anyway.
    if (was_empty) ::eventfd_write(wake_.get(), 1);
  }
  // Readable when an item is present.
  [[nodiscard]] int fd() const { return wake_.get(); }
  [[nodiscard]] std::vector<T> take() {
    eventfd_t count = 0;
    ::eventfd_read(wake_.get(), &count);
    const std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }

 private:
  base::Fd wake_;
  std::mutex mutex_;
  std::vector<T> items_;  // guarded by mutex_
};

}  // namespace tpmspace::base
