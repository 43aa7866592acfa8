// `tpmspaced --check-config` and `tpmspaced --explain`: report on the configuration, without a TPM or a socket.
//
// Threads: called once, from main. Errors: a sentence on standard error, and exit code 1.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace tpmspace::explain {

inline constexpr int kExitRefused = 3;  // the guard would refuse the command

struct PolicyQuestion {
  std::string program = "tpmspaced";  // the program's name in errors
  std::optional<std::string> as;      // explain; nullopt: check
  std::vector<std::string> words;     // COMMAND [HANDLE...]
};

// Prints to standard output; returns the exit code.
[[nodiscard]] int answer(const PolicyQuestion& question, const std::optional<std::string>& config_file);

}  // namespace tpmspace::explain
