#include "tpm/timer.h"

namespace tpmspace::tpm {

bool SteadyTimer::wait_until(Time when) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, when, [this] { return woken_; });
}

void SteadyTimer::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void SteadyTimer::clear() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
}

}  // namespace tpmspace::tpm
