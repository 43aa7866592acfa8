// `tpmspace run -- CMD`: a TPM and a manager for a single command.
//
// Idea: a workplace, a private daemon in the workplace, and the command with all variables that TPM programs read. At
// the end all of this is removed, even after SIGKILL (cleanup_process.h). If the TPM keeps its state in a folder, the
// FAPI keys are kept there, too. Signals: the tool forwards signals from processes to the command; signals from the
// terminal reach the command directly. In both cases the tool waits for the command and cleans up.
// Errors: the command's exit code; 125 failure of the tool, 126 the command cannot be executed, 127 no such command,
// 128+n killed by signal n. If the daemon ends while the command runs, a message on stderr says so, and the exit code
// is still the command's.
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

// The variables for a command to use the manager at the TCTI `tcti`: "space:path=…".
[[nodiscard]] std::vector<Variable> client_environment(const std::string& tcti, const LibraryPlaces& library);

}  // namespace tpmspace::tool
