#include "engine/gate.h"

namespace tpmspace::engine {

std::optional<Gate::Running> Gate::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

bool Gate::cancel(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  if (!running_ || !cancelable_ || running_->ticket != ticket) return false;
  cancelled_ = true;
  tpm_.cancel();
  return true;
}

void Gate::abandon(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  abandoned_.insert(ticket);
  if (!running_ || !cancelable_ || running_->ticket != ticket) return;
  cancelled_ = true;
  tpm_.cancel();
}

void Gate::enter(const Running& running, bool cancelable) {
  const std::lock_guard lock(mutex_);
  running_ = running;
  running_->sequence = ++sequence_;
  cancelable_ = cancelable;
  cancelled_ = false;
}

void Gate::leave() {
  const std::lock_guard lock(mutex_);
  running_.reset();
  cancelable_ = false;
}

bool Gate::was_cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

bool Gate::take_abandoned(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  return abandoned_.erase(ticket) != 0;
}

void Gate::forget_abandoned() {
  const std::lock_guard lock(mutex_);
  abandoned_.clear();
}

}  // namespace tpmspace::engine
