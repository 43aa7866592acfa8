// The decorator that makes any TPM as slow as a real chip: for benchmarks, and for behaviour that only appears when a
// key takes two seconds.
//
// Idea: each command takes the time that its code (and, for key generation and signing, its algorithm) takes on the
// chip. The wait comes before the command is passed on, less the expected time of the TPM behind (learnt from earlier
// commands); missing time is added afterwards. So a cancel during the wait finds an unchanged TPM and is answered
// CANCELED without the TPM; after the command is passed on, the cancel is passed on too.
// Threads: as backend.h. Units: microseconds.
// Source: published measurements for two chips; otherwise an estimate by the command's duration class, marked in
// latency.cc. RSA figures are for 2048 bits and are used for every size.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "tpm/backend.h"
#include "tpm/spec.h"
#include "tpm/timer.h"

namespace tpmspace::tpm {

// The time of `model` for these bytes. Bytes that are not a command take the time of an error response.
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
  // The time of the TPM behind, by the full figure: a slowly falling maximum. At most as many entries as figures.
  std::map<Timer::Duration, Timer::Duration> own_time_;

  std::mutex mutex_;
  Phase phase_ = Phase::kIdle;  // guarded by mutex_
  bool canceled_ = false;       // guarded by mutex_: the current command was canceled
  bool hung_up_ = false;        // guarded by mutex_
};

}  // namespace tpmspace::tpm
