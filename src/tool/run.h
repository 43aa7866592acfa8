// `tpmspace run -- CMD`: a TPM and a manager for one command alone.
//
// Idea: a workplace, a private daemon in it, the command with all variables set that TPM programs read; then all of it
// goes away again, whichever way it ends, SIGKILL included (cleanup_process.h). A TPM that keeps its state in a folder
// keeps the FAPI keys there, too. Signals: those that a process sends us go on to the command; those of the terminal
// reach it by themselves. Either way we wait for the command and clean up after it. Errors: the exit code is the
// command's; 125 our own failure, 126 it cannot be executed, 127 it is not there, 128+n killed by signal n. A daemon
// that ends while the command runs is told on stderr and changes nothing of that: what it means for the command the
// command knows best.
#pragma once

#include <string>
#include <vector>

#include "tool/child.h"
#include "tool/installation.h"

namespace tpmspace::tool {

struct RunOptions {
  std::string tpm = "embedded";
  std::string daemon;  // path of tpmspaced; empty: find it
  std::vector<std::string> command;
};

[[nodiscard]] int run(const RunOptions& options);

// What a command needs to use the manager that the TCTI `tcti` reaches: "space:path=…".
[[nodiscard]] std::vector<Variable> client_environment(const std::string& tcti, const LibraryPlaces& library);

}  // namespace tpmspace::tool
