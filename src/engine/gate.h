// The gate between the one thread that owns a TPM and the event loop that may want to stop what it does.
//
// Idea: a command waits, is served (the manager makes room for it, and it is at the TPM), and is done. Both sides meet
// under one mutex, so what the event loop is told holds: a command that was withdrawn never runs, one that was
// abandoned leaves nothing behind, and `cancel` touches that very command or none: libtpms's cancel and a device's are
// the whole chip's (DESIGN, "The native protocol"), so the chip is asked only while a client's own command is in it.
// Threads: every method from any thread.
#pragma once

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
  // True: it waited, it will never run and the engine answers it no more.
  bool withdraw(Ticket ticket);
  // True: it is served; if it is at the TPM the chip was asked to give it up, if not it will not get there. A chip may
  // miss the request, so it can be repeated until the command is done. False: it waits, or is done.
  bool cancel(Ticket ticket);
  // The answer will not be delivered: it is withdrawn or cancelled, and what it makes is taken back at once. False: it
  // is done, and its answer is on its way.
  bool abandon(Ticket ticket);

  // While a command is at the TPM its engine changes nothing: `look` may read what the engine knows, and the command's
  // end waits for it. False: no command is there, and nothing was done.
  template <typename Look>
  bool while_at_tpm(Look look) const {
    const std::lock_guard lock(mutex_);
    if (running_) look();
    return running_.has_value();
  }

  // --- The engine's side ---
  void expect(Ticket ticket);
  // From waiting to being served; false: it was withdrawn.
  bool begin(Ticket ticket);
  // It is done; true: it was abandoned.
  bool end();
  // Around each command that is sent to the TPM. `cancelable`: it is the client's own. False: it was cancelled before
  // it got here and is not to be sent.
  bool enter(const Running& running, bool cancelable);
  void leave();
  // Whether somebody asked for a CANCELED of what is served.
  [[nodiscard]] bool was_cancelled() const;

 private:
  bool cancel_served(Ticket ticket);  // with the mutex

  wire::Tpm& tpm_;
  mutable std::mutex mutex_;
  std::set<Ticket> waiting_;
  Ticket served_ = 0;
  bool cancelled_ = false, abandoned_ = false;  // what is served
  std::optional<Running> running_;
  bool cancelable_ = false;
  std::uint64_t sequence_ = 0;
};

}  // namespace tpmspace::engine
