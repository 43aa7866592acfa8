#include "tpm/retry.h"

#include <algorithm>

#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::tpm {
namespace {

using std::chrono::milliseconds;

// The reaction to one response code: the number of attempts, the first wait and the longest wait.
struct Backoff {
  int attempts = 1;
  milliseconds first{0}, most{0};
};

Backoff backoff_for(const wire::Bytes& response) {
  const auto header = wire::read_header(response);
  if (!header) return {};
  switch (header->code) {
    case wire::rc::kRetry:
    case wire::rc::kTesting:
    case wire::rc::kYielded:
      return {12, milliseconds(1), milliseconds(500)};  // 1 + 2 + 4 + ... + 256 + 500 + 500 ms
    case wire::rc::kNvRate:
      return {5, milliseconds(200), milliseconds(1600)};  // 0.2 + 0.4 + 0.8 + 1.6 s
    default:
      return {};
  }
}

tl::unexpected<wire::Tpm::Error> gone() {
  return tl::unexpected(
      wire::Tpm::Error{wire::Tpm::Error::Kind::kGone, "this process closed the connection to the TPM"});
}

}  // namespace

wire::Tpm::Answer RetryingTpm::transact(wire::ByteView command, std::uint8_t locality) {
  {
    const std::lock_guard lock(mutex_);
    if (hung_up_) return gone();
    running_ = true;
    timer_->clear();
  }
  Answer answer = inner_->transact(command, locality);
  for (int attempt = 1; answer; ++attempt) {
    const Backoff backoff = backoff_for(*answer);
    if (attempt >= backoff.attempts) break;
    const milliseconds pause = std::min(backoff.most, backoff.first * (1 << (attempt - 1)));
    if (!timer_->wait_until(timer_->now() + pause)) {
      answer = interrupted();
      break;
    }
    answer = inner_->transact(command, locality);
  }
  const std::lock_guard lock(mutex_);
  running_ = false;
  return answer;
}

wire::Tpm::Answer RetryingTpm::interrupted() {
  const std::lock_guard lock(mutex_);
  if (hung_up_) return gone();
  return wire::error_response(wire::rc::kCanceled);
}

void RetryingTpm::cancel() {
  const std::lock_guard lock(mutex_);
  if (!running_) return;
  timer_->wake();
  inner_->cancel();
}

void RetryingTpm::hang_up() {
  const std::lock_guard lock(mutex_);
  hung_up_ = true;
  timer_->wake();
  inner_->hang_up();
}

}  // namespace tpmspace::tpm
