// A tpmspaced for one command alone.
//
// Idea: a child that dies with us (PR_SET_PDEATHSIG) and tells by sd_notify when it is ready; a socket that can be
// connected to counts as ready, too. Its output goes to a file, of which we show what is needed.
// Threads: one. Units: milliseconds.
// Errors: sentences; a daemon that ended early is quoted.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "base/fd.h"
#include "tool/signals.h"
#include "tool/workplace.h"

namespace tpmspace::tool {

class PrivateDaemon {
 public:
  // `program`: path of tpmspaced. `tpm`: its --tpm.
  [[nodiscard]] static tl::expected<PrivateDaemon, std::string> start(const std::string& program,
                                                                      const std::string& tpm,
                                                                      const Workplace& workplace,
                                                                      const Signals& signals);
  PrivateDaemon(PrivateDaemon&& other) noexcept;
  PrivateDaemon(const PrivateDaemon&) = delete;
  PrivateDaemon& operator=(const PrivateDaemon&) = delete;
  PrivateDaemon& operator=(PrivateDaemon&&) = delete;
  ~PrivateDaemon();

  // Waits until it is ready, and passes on what it says of that: nullopt; or the signal that told us to end meanwhile.
  // A sentence if it will not be.
  [[nodiscard]] tl::expected<std::optional<int>, std::string> wait_ready(const Signals& signals);
  // After SIGCHLD: the sentence to say if it has ended, once.
  [[nodiscard]] std::optional<std::string> look();
  // SIGTERM, a generous wait (a signal that arrives meanwhile is passed on: it hurries), then SIGKILL.
  void stop(const Signals& signals);
  // What it logged at error level, without the prefixes.
  [[nodiscard]] std::string errors() const;

 private:
  PrivateDaemon(pid_t pid, base::Fd notify, std::string socket, std::string log);
  [[nodiscard]] bool told_ready() const;
  // What it logged at notice level meanwhile goes to stderr, each line once.
  void pass_on_notices();
  [[nodiscard]] std::string ended_early(int wait_status) const;

  pid_t pid_ = -1;  // -1: none, or reaped
  base::Fd notify_;
  std::string socket_;
  std::string log_;
  std::size_t passed_on_ = 0;  // lines of the log that were looked at for notices
};

}  // namespace tpmspace::tool
