// A back end whose errors are in the log: the engine only learns that there was no answer, the sentence says why.
//
// Idea: a decorator. The same sentence is written once until another one comes, because a back end that is gone says
// the same for every command. Threads: as tpm/backend.h. Errors: passed on as they are.
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
  std::string last_;  // of the transacting thread
};

}  // namespace tpmspace::host
