// The decorator that makes any TPM as slow as a real chip: for benchmarks and for behaviour that only shows when a key
// takes two seconds.
//
// Idea: each command is given the time that its code (and, for key generation and signing, its algorithm) takes on the
// chip. The wait comes before the command is passed on, less what the TPM behind is expected to need itself (learnt
// from earlier commands), and what is then still missing comes after. So a cancel during the wait finds a TPM that has
// not changed and is answered CANCELED without passing the command on; once it is passed on the cancel is passed on
// too. Threads: as backend.h. Units: microseconds. Figures: published measurements for two chips; where there is none,
// an estimate by the command's duration class, marked as such in latency.cc. RSA figures are for 2048 bits and are used
// for every size.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "tpm/backend.h"
#include "tpm/spec.h"
#include "tpm/timer.h"

namespace tpmspace::tpm {

// How long `model` takes for these bytes. Anything that is no command takes the time of an error answer.
[[nodiscard]] Timer::Duration latency_of(ChipModel model, wire::ByteView command);

class SlowTpm final : public BackEnd {
 public:
  SlowTpm(std::unique_ptr<BackEnd> inner, ChipModel model, std::unique_ptr<Timer> timer)
      : inner_(std::move(inner)), model_(model), timer_(std::move(timer)) {}

  Answer transact(wire::ByteView command, std::uint8_t locality) override;
  void cancel() override;
  void hang_up() override;

 private:
  enum class Phase : std::uint8_t { kIdle, kBefore, kInside, kAfter };
  [[nodiscard]] bool enter(Phase phase);
  [[nodiscard]] Answer pass_on(wire::ByteView command, std::uint8_t locality, Timer::Duration full, Timer::Time began);

  const std::unique_ptr<BackEnd> inner_;
  const ChipModel model_;
  const std::unique_ptr<Timer> timer_;
  // What the TPM behind needed itself, by the full figure: a slowly falling maximum. At most as many entries as
  // figures.
  std::map<Timer::Duration, Timer::Duration> own_time_;

  std::mutex mutex_;
  Phase phase_ = Phase::kIdle;  // guarded by mutex_
  bool canceled_ = false;       // guarded by mutex_: this command's
  bool hung_up_ = false;        // guarded by mutex_
};

}  // namespace tpmspace::tpm
