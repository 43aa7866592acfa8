// `tpmspace open --profile P -- CMD`: a command with a connection that is open already and can do no more than P
// allows.
//
// Idea: we connect with our own rights, narrow the connection, which nobody can undo, and become the command; its TPM
// programs are told the descriptor (TSS2_TCTI and its likes: "space:fd=N"). What the command's programs do one after
// another happens in one space, so a key that one loads is there for the next. One at a time may use it.
// Threads: one. Errors: a sentence; exit codes as those of `run`.
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

// Returns only if it failed: the exit code.
[[nodiscard]] int open_narrowed(const OpenOptions& options);

}  // namespace tpmspace::tool
