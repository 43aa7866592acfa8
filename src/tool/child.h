// A program that we start, and how it ended.
//
// Threads: one, the only one of the program (fork). Errors: `spawn` tells errno of what went wrong, exec included.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tool/signals.h"

namespace tpmspace::tool {

struct Variable {
  std::string name;
  std::optional<std::string> value;  // nullopt: unset
};

// What makes a child a servant: a process group of its own (the terminal's ^C is not for it), SIGTERM when we die,
// input from /dev/null.
struct Servant {
  int output = -1;  // for what it says, errors too
  int lease = -1;   // stays open in it: see cleanup_process.h
};

struct Launch {
  std::vector<std::string> arguments;  // not empty; [0] without a slash is looked for in PATH
  std::vector<Variable> environment;   // changes to ours
  sigset_t mask{};                     // the child's signal mask
  std::optional<Servant> servant;
};

[[nodiscard]] tl::expected<pid_t, int> spawn(const Launch& launch);
// Says that it could not be started, for that errno; the exit code for it.
[[nodiscard]] int cannot_run(const std::string& program, int error);

// Not blocking. The wait status, once.
[[nodiscard]] std::optional<int> reap(pid_t pid);

// Until it has ended: its wait status. What a process sends us meanwhile goes on to it; what the terminal sends reaches
// it by itself. `look` is called after whatever woke us.
[[nodiscard]] int wait_for(
    pid_t child, const Signals& signals, const std::function<void()>& look = [] {});

[[nodiscard]] int exit_code_of(int wait_status);          // 128 + n if it was killed by signal n
[[nodiscard]] std::string how_it_ended(int wait_status);  // "exited with code 3", "was killed by signal 9 (Killed)"

}  // namespace tpmspace::tool
