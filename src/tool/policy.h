// `tpmspace policy check` and `policy explain` (`reload`: listener.h, `learn`: learn.h): tpmspaced reads its
// configuration and says what it means.
//
// Idea: a process that is connected (`--as pid=N`) is what the running daemon is asked about (clients.h). Else: what
// the daemon will do only the daemon's own code can say, so this program becomes tpmspaced (exec): what it prints and
// its exit code are what is wanted. Errors: a sentence and exit code 1 if it is not there or cannot be run. Exit codes:
// 0 right, or allowed; 1 wrong, or it cannot be said; 2 usage; 3 refused.
#pragma once

#include <string>
#include <vector>

#include "tool/manager_place.h"

namespace tpmspace::tool {

struct PolicyOptions {
  ManagerPlace manager;            // of a process that is connected
  std::string daemon;              // path of tpmspaced; empty: find it
  std::string config;              // empty: the daemon's default
  std::string as;                  // empty: check
  std::vector<std::string> words;  // COMMAND HANDLE...
};

// What tpmspaced is called with.
[[nodiscard]] std::vector<std::string> daemon_arguments(const PolicyOptions& options);
// Returns only if tpmspaced cannot be run: the exit code.
[[nodiscard]] int ask_daemon(const PolicyOptions& options);

}  // namespace tpmspace::tool
