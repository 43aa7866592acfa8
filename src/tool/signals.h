// Signals as readable data, during a `run`.
//
// Idea: INT, TERM, HUP, QUIT and CHLD are blocked and read from a descriptor, so no code is interrupted and cleaning up
// is ordinary code. A child gets the original mask (`outer`).
// Threads: one, the only thread of the program.
#pragma once

#include <sys/signalfd.h>

#include <csignal>
#include <optional>

#include "base/fd.h"

namespace tpmspace::tool {

class Signals {
 public:
  Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const sigset_t& outer() const { return outer_; }
  // The next pending signal, if any.
  [[nodiscard]] std::optional<signalfd_siginfo> next() const;

  // Whether a process sent the signal, not the kernel on behalf of the terminal (which signals the whole foreground
  // group).
  [[nodiscard]] static bool from_a_process(const signalfd_siginfo& info) { return info.ssi_code <= 0; }

 private:
  sigset_t outer_{};
  base::Fd fd_;
};

}  // namespace tpmspace::tool
