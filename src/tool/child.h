// A child program: how to start it, and how it ended.
//
// Threads: one, the only thread of the program (fork). Errors: `spawn` returns the errno of a failure, exec included.
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

// Makes a child a servant: a process group of its own (without the terminal's ^C), SIGTERM when the tool dies, input
// from /dev/null.
struct Servant {
  int output = -1;  // for output and errors
  int lease = -1;   // stays open in the child: see cleanup_process.h
};

struct Launch {
  std::vector<std::string> arguments;  // not empty; [0] without a slash is searched in PATH
  std::vector<Variable> environment;   // changes to the tool's environment
  sigset_t mask{};                     // the child's signal mask
  std::optional<Servant> servant;
};

[[nodiscard]] tl::expected<pid_t, int> spawn(const Launch& launch);
// Prints that the program could not be started, for the errno; returns the exit code.
[[nodiscard]] int cannot_run(const std::string& program, int error);

// Does not block. Returns the wait status once.
[[nodiscard]] std::optional<int> reap(pid_t pid);

// Waits for the child's end; returns the wait status. Signals from a process are forwarded; signals from the terminal
// reach the child directly. `look` is called after every wake-up.
[[nodiscard]] int wait_for(
    pid_t child, const Signals& signals, const std::function<void()>& look = [] {});

[[nodiscard]] int exit_code_of(int wait_status);          // 128 + n if signal n killed the child
[[nodiscard]] std::string how_it_ended(int wait_status);  // "exited with code 3", "was killed by signal 9 (Killed)"

}  // namespace tpmspace::tool
