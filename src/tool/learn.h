// `tpmspace policy learn -- CMD`: the narrowest profile that allows a command's use of the TPM.
//
// Idea: as `open` (open.h), but the tool keeps running: it asks the manager to learn on the connection, gives the
// command a copy of the descriptor, and requests the profile after the command has ended. Input and output belong to
// the command; the profile is printed after the command's output, or written to a file. An empty profile is reported on
// stderr. The tool does not wait for processes that the command leaves behind.
// Threads: one. Errors: a sentence; exit codes as for `run`, 125 also if no profile can be shown.
#pragma once

#include <string>
#include <vector>

#include "tool/manager_place.h"

namespace tpmspace::tool {

struct LearnOptions {
  ManagerPlace manager;
  std::string name = "learned";  // of the profile
  std::string output;            // a file; empty: standard output
  std::vector<std::string> command;
};

// The command's exit code, or the tool's.
[[nodiscard]] int learn(const LearnOptions& options);

}  // namespace tpmspace::tool
