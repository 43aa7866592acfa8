// A tpmspaced that is none: this test program itself, started with TPMSPACE_FAKE_DAEMON set, does what that says.
//   serve   makes the socket, listens, ends at SIGTERM with 0 and at SIGUSR1 with 5
//   notify  makes no socket, but tells READY=1 on NOTIFY_SOCKET
//   hang    never becomes ready
//   die     says why on stderr, ends with 3
//   wait    as serve, and logs first that it waits
//   grumble as serve, and logs a line at each of two levels
// All but `die` write their pid to TPMSPACE_FAKE_PID, and the word "ended" there when they end by SIGTERM.
#pragma once

#include <string>
#include <vector>

#include "tool/child.h"

namespace tpmspace::tool {

// The arguments before the command and the variables by which `tpmspace run` uses it.
struct FakeDaemon {
  FakeDaemon(const std::string& behaviour, const std::string& pid_file, const std::string& runtime_dir);
  [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& command) const;
  std::vector<Variable> environment;
};

}  // namespace tpmspace::tool
