// `tpmspace open --profile P -- CMD`: runs a command with an open connection, restricted to the rights of profile P.
//
// Idea: the tool connects with its own rights, narrows the connection irrevocably, and becomes the command; variables
// give the descriptor to the command's TPM programs (TSS2_TCTI and similar: "space:fd=N"). All programs of the command
// use one space one after the other, so a key that one program loads is available to the next. One program at a time
// may use the connection.
// Threads: one. Errors: a sentence; exit codes as for `run`.
#pragma once

#include <string>
#include <vector>

#include "tool/manager_place.h"

namespace tpmspace::tool {

struct OpenOptions {
  ManagerPlace manager;
  std::string profile;
  std::vector<std::string> command;
};

// Returns only on failure: the exit code.
[[nodiscard]] int open_narrowed(const OpenOptions& options);

}  // namespace tpmspace::tool
