// Signals as something to be read, for the time of a `run`.
//
// Idea: INT, TERM, HUP, QUIT and CHLD are blocked and read from a descriptor, so that nothing is ever interrupted
// half-way and cleaning up is ordinary code. A child gets the mask that we had (`outer`).
// Threads: one, the only one of the program.
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
  // The next one, if there is one now.
  [[nodiscard]] std::optional<signalfd_siginfo> next() const;

  // Sent by a process, not by the kernel on behalf of the terminal (which tells the whole foreground group by itself).
  [[nodiscard]] static bool from_a_process(const signalfd_siginfo& info) { return info.ssi_code <= 0; }

 private:
  sigset_t outer_{};
  base::Fd fd_;
};

}  // namespace tpmspace::tool
