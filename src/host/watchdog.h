// Whether the TPM has missed a deadline: judges the state of the gate, without a thread or a clock.
//
// Idea: a command at the TPM is known by its sequence number. The first look at a new command starts its time. If the
// same command is still there at a look after its deadline, the TPM does not respond.
// Threads: belongs to the event loop. Units: milliseconds of deadline; a command can be overdue by one period of
// looking.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "engine/gate.h"

namespace tpmspace::host {

class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;

  // True: the command at the TPM has missed its deadline.
  bool look(const std::optional<engine::Gate::Running>& running, Clock::time_point now) {
    if (!running) {
      seen_.reset();
      return false;
    }
    if (!seen_ || seen_->sequence != running->sequence) seen_ = Seen{running->sequence, now};
    return now - seen_->since > std::chrono::milliseconds(running->deadline_ms);
  }
  // How long the command at the last look has been seen.
  [[nodiscard]] Clock::duration running_for(Clock::time_point now) const {
    return seen_ ? now - seen_->since : Clock::duration::zero();
  }

 private:
  struct Seen {
    std::uint64_t sequence = 0;
    Clock::time_point since;
  };
  std::optional<Seen> seen_;
};

}  // namespace tpmspace::host
