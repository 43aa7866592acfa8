// A back end that logs its errors: the engine only learns that there was no response, the log has the reason.
//
// Idea: a decorator. A back end that is gone reports the same error for every command, so a repeated sentence is logged
// only once. Threads: as tpm/backend.h. Errors: passed on unchanged.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "log/log.h"
#include "tpm/backend.h"

namespace tpmspace::host {

class LoggedTpm final : public tpm::BackEnd {
 public:
  LoggedTpm(std::unique_ptr<tpm::BackEnd> inner, log::Log& log) : inner_(std::move(inner)), log_(log) {}

  Answer transact(wire::ByteView command, std::uint8_t locality) override {
    auto answer = inner_->transact(command, locality);
    if (!answer && answer.error().what != last_) {
      last_ = answer.error().what;
      log_.warning("no answer from the TPM: {}", last_);
    }
    return answer;
  }
  void cancel() override { inner_->cancel(); }
  void hang_up() override { inner_->hang_up(); }

 private:
  const std::unique_ptr<tpm::BackEnd> inner_;
  log::Log& log_;
  std::string last_;  // belongs to the transacting thread
};

}  // namespace tpmspace::host
