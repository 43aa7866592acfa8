// The gate between the thread that owns a TPM and the event loop, which may want to stop a command.
//
// Idea: a command waits, is served (the manager makes room for the command and sends it to the TPM), and is done. Both
// sides use one mutex, so results stay true for the event loop: a withdrawn command never runs, an abandoned command
// leaves no entity behind, and `cancel` affects only the given command. The cancel functions of libtpms and of a device
// act on the whole chip, so the chip is asked only while a client's own command is at the TPM.
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
    Ticket ticket = 0;              // 0: idle work
    std::uint32_t code = 0;         // the command code now at the TPM (of the manager or the client)
    std::uint32_t deadline_ms = 0;  // by its duration class
    std::uint64_t sequence = 0;     // changes with every sent command, so that a watchdog sees progress
  };

  explicit Gate(wire::Tpm& tpm) : tpm_(tpm) {}

  // The command at the TPM now. Nullopt: the thread is between commands.
  [[nodiscard]] std::optional<Running> running() const;
  // True: the command waited, will never run and gets no response.
  bool withdraw(Ticket ticket);
  // True: the command is served. If the command is at the TPM, the chip was asked to cancel; otherwise the command will
  // not be sent. A chip may miss the request, so the caller may repeat it until the command is done. False: the command
  // waits or is done.
  bool cancel(Ticket ticket);
  // For a response that will not be delivered: the command is withdrawn or cancelled, and created entities are flushed
  // at once. False: the command is done, and its response is on its way.
  bool abandon(Ticket ticket);

  // While a command is at the TPM, the engine changes nothing: `look` may read the engine's state, and the end of the
  // command waits for `look`. False: no command was at the TPM, and `look` was not called.
  template <typename Look>
  bool while_at_tpm(Look look) const {
    const std::lock_guard lock(mutex_);
    if (running_) look();
    return running_.has_value();
  }

  // --- The engine's side ---
  void expect(Ticket ticket);
  // From waiting to served; false: the command was withdrawn.
  bool begin(Ticket ticket);
  // The command is done; true: the command was abandoned.
  bool end();
  // Around each command to the TPM. `cancelable`: a client's own command. False: the command was cancelled before and
  // must not be sent.
  bool enter(const Running& running, bool cancelable);
  void leave();
  // Whether a CANCELED of the served command was requested.
  [[nodiscard]] bool was_cancelled() const;

 private:
  bool cancel_served(Ticket ticket);  // with the mutex held

  wire::Tpm& tpm_;
  mutable std::mutex mutex_;
  std::set<Ticket> waiting_;
  Ticket served_ = 0;
  bool cancelled_ = false, abandoned_ = false;  // of the served command
  std::optional<Running> running_;
  bool cancelable_ = false;
  std::uint64_t sequence_ = 0;
};

}  // namespace tpmspace::engine
