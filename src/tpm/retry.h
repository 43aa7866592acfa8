// The decorator that repeats a command if the TPM answers "not now".
//
// Idea: RETRY, TESTING and YIELDED (Part 2, 6.6) mean that the command was not executed and the same bytes may be sent
// again; NV_RATE permits the same after a while. Clients should not see these codes, since many clients cannot retry.
// CANCELED is never retried here: only the caller knows whether a cancel was requested.
// Limits: for the first three codes at most 12 attempts within about 2 s; for NV_RATE 5 attempts within about 3 s. The
// last response is passed on unchanged.
// Threads: as backend.h. A cancel between attempts is answered CANCELED: no attempt was executed.
#pragma once

#include <memory>
#include <mutex>

#include "tpm/backend.h"
#include "tpm/timer.h"

namespace tpmspace::tpm {

class RetryingTpm final : public BackEnd {
 public:
  RetryingTpm(std::unique_ptr<BackEnd> inner, std::unique_ptr<Timer> timer)
      : inner_(std::move(inner)), timer_(std::move(timer)) {}

  Answer transact(wire::ByteView command, std::uint8_t locality) override;
  void cancel() override;
  void hang_up() override;

 private:
  [[nodiscard]] Answer interrupted();

  const std::unique_ptr<BackEnd> inner_;
  const std::unique_ptr<Timer> timer_;

  std::mutex mutex_;
  bool running_ = false;  // guarded by mutex_
  bool hung_up_ = false;  // guarded by mutex_
};

}  // namespace tpmspace::tpm
