// The command line of tpmspaced.
//
// Threads: called once, from main. Errors: usage errors are printed; the exit code says the rest.
#pragma once

#include <optional>
#include <string>

#include "config/config.h"
#include "explain/policy_report.h"

namespace tpmspace::daemon {

inline constexpr int kExitUsage = 2;

struct Arguments {
  config::Settings settings;
  std::optional<std::string> config_file;
  std::optional<explain::PolicyQuestion> question;  // set: answer it and leave
  std::optional<int> exit_code;  // set: everything was said (help, version, usage error); leave with it
};

[[nodiscard]] Arguments parse_arguments(int argc, char** argv);

}  // namespace tpmspace::daemon
