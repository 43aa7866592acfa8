// The gate between the one thread that owns a TPM and the event loop that may want to stop what it does.
//
// Idea: `cancel(ticket)` must do nothing unless that very command is at the TPM: libtpms's cancel and a device's are
// the whole chip's (DESIGN, "The native protocol"). So the engine opens the gate exactly around a client's own command,
// and both sides meet under one mutex. `abandon` says that the client has been answered (deadline) or is gone: what the
// command creates is then given back at once.
// Threads: every method from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>

#include "wire/tpm.h"

namespace tpmspace::engine {

using Ticket = std::uint64_t;  // one submitted command; never reused, never 0

class Gate {
 public:
  struct Running {
    Ticket ticket = 0;              // 0: idle work, nobody's command
    std::uint32_t code = 0;         // command code now at the TPM (ours or the client's)
    std::uint32_t deadline_ms = 0;  // by its duration class
    std::uint64_t sequence = 0;     // changes with every command that is sent, so that a watchdog sees progress
  };

  explicit Gate(wire::Tpm& tpm) : tpm_(tpm) {}

  // What is at the TPM now. nullopt: the thread is between commands.
  [[nodiscard]] std::optional<Running> running() const;
  // True if that ticket's own command was at the TPM and the chip was asked to give it up.
  bool cancel(Ticket ticket);
  // The answer to this ticket will not be delivered; effective while its step runs. Also asks the chip to give it up.
  void abandon(Ticket ticket);

  // The engine's side.
  void enter(const Running& running, bool cancelable);
  void leave();
  [[nodiscard]] bool was_cancelled() const;          // since the last enter
  [[nodiscard]] bool take_abandoned(Ticket ticket);  // and forget it
  // Nothing is at the TPM and nothing waits: whatever was abandoned is history.
  void forget_abandoned();

 private:
  wire::Tpm& tpm_;
  mutable std::mutex mutex_;
  std::optional<Running> running_;
  bool cancelable_ = false;
  bool cancelled_ = false;
  std::uint64_t sequence_ = 0;
  std::set<Ticket> abandoned_;
};

}  // namespace tpmspace::engine
