#include "engine/gate.h"

#include <utility>

#include "base/invariant.h"

namespace tpmspace::engine {

std::optional<Gate::Running> Gate::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

bool Gate::withdraw(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  return waiting_.erase(ticket) != 0;
}

bool Gate::cancel_served(Ticket ticket) {
  if (served_ != ticket) return false;
  cancelled_ = true;
  if (running_ && cancelable_) tpm_.cancel();
  return true;
}

bool Gate::cancel(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  return cancel_served(ticket);
}

bool Gate::abandon(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  if (waiting_.erase(ticket) != 0) return true;
  if (!cancel_served(ticket)) return false;
  abandoned_ = true;
  return true;
}

void Gate::expect(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  const bool is_new = waiting_.insert(ticket).second;
  TPMSPACE_ASSERT(ticket != 0 && is_new);
}

bool Gate::begin(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  if (waiting_.erase(ticket) == 0) return false;
  // Otherwise a cancel for one client's command could end another client's.
  TPMSPACE_ASSERT(served_ == 0 && !running_);
  served_ = ticket;
  cancelled_ = abandoned_ = false;
  return true;
}

bool Gate::end() {
  const std::lock_guard lock(mutex_);
  served_ = 0;
  cancelled_ = false;
  return std::exchange(abandoned_, false);
}

bool Gate::enter(const Running& running, bool cancelable) {
  const std::lock_guard lock(mutex_);
  if (cancelable && cancelled_) return false;
  TPMSPACE_ASSERT(!running_);
  running_ = running;
  running_->ticket = served_;
  running_->sequence = ++sequence_;
  cancelable_ = cancelable;
  return true;
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

}  // namespace tpmspace::engine
