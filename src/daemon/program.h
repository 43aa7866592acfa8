// The program behind main: from arguments to exit code.
// Threads: called once, from the main thread, before other threads exist. Errors: a sentence in the log, and 1.
#pragma once

#include "config/config.h"

namespace tpmspace::daemon {

[[nodiscard]] int run_program(const config::Settings& command_line, const std::optional<std::string>& config_file);

}  // namespace tpmspace::daemon
