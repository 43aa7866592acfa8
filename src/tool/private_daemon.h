// A tpmspaced for a single command.
//
// Idea: a child that dies with the tool (PR_SET_PDEATHSIG) and reports by sd_notify when ready; a socket that accepts
// connections counts as ready, too. The daemon's output goes to a file, from which the tool shows the necessary lines.
// Threads: one. Units: milliseconds.
// Errors: sentences; the output of a daemon that ended early is quoted.
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

  // Waits until the daemon is ready and forwards its notices: nullopt; or the signal that told the tool to end
  // meanwhile. A sentence if the daemon will not become ready.
  [[nodiscard]] tl::expected<std::optional<int>, std::string> wait_ready(const Signals& signals);
  // After SIGCHLD: the sentence to print if the daemon has ended, once.
  [[nodiscard]] std::optional<std::string> look();
  // Sends SIGTERM, waits generously (forwards a signal that arrives meanwhile, which hastens the end), then sends
  // SIGKILL.
  void stop(const Signals& signals);
  // The daemon's log lines at error level, without prefixes.
  [[nodiscard]] std::string errors() const;

 private:
  PrivateDaemon(pid_t pid, base::Fd notify, std::string socket, std::string log);
  [[nodiscard]] bool told_ready() const;
  // Prints new log lines at notice level on stderr, each line once.
  void pass_on_notices();
  [[nodiscard]] std::string ended_early(int wait_status) const;

  pid_t pid_ = -1;  // -1: none, or reaped
  base::Fd notify_;
  std::string socket_;
  std::string log_;
  std::size_t passed_on_ = 0;  // log lines already searched for notices
};

}  // namespace tpmspace::tool
