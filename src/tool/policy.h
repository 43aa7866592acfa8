// `tpmspace policy check` and `policy explain` (`reload`: manage_listeners.h, `learn`: learn.h): tpmspaced reads its
// configuration and explains it.
//
// Idea: for a connected process (`--as pid=N`) the running daemon is asked (clients.h). Otherwise only the daemon's own
// code knows what the daemon will do, so this program becomes tpmspaced (exec), which gives output and exit code.
// Errors: a sentence and exit code 1 if tpmspaced is missing or cannot be run.
// Exit codes: 0 correct, or allowed; 1 incorrect, or unknown; 2 usage; 3 refused.
#pragma once

#include <string>
#include <vector>

#include "tool/manager_place.h"

namespace tpmspace::tool {

struct PolicyOptions {
  ManagerPlace manager;            // for a connected process
  std::string daemon;              // path of tpmspaced; empty: find it
  std::string config;              // empty: the daemon's default
  std::string as;                  // empty: check
  std::vector<std::string> words;  // COMMAND HANDLE...
};

// The arguments for tpmspaced.
[[nodiscard]] std::vector<std::string> daemon_arguments(const PolicyOptions& options);
// Returns only if tpmspaced cannot be run: the exit code.
[[nodiscard]] int ask_daemon(const PolicyOptions& options);

}  // namespace tpmspace::tool
