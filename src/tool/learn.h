// `tpmspace policy learn -- CMD`: the narrowest profile that allows what a command does with the TPM.
//
// Idea: as `open` (open.h), but we stay: the connection is asked to learn, the command gets a copy of its descriptor,
// and when it has ended we ask for the profile on our own. The command's input and output are its own; the profile
// comes after them, or goes to a file; that there was nothing to learn is said on stderr. Processes that the command
// leaves behind are not waited for. Threads: one. Errors: a sentence; exit codes as those of `run`, 125 also if there
// is no profile to show.
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

// The command's exit code, or ours.
[[nodiscard]] int learn(const LearnOptions& options);

}  // namespace tpmspace::tool
