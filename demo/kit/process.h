// A program that we start, talk with over its standard input and output, and never leave behind.
//
// Idea: a Child owns its process. It can be waited for until a deadline, asked to end, and it is killed when its owner
// goes, normally or not (the kernel kills it when we die). Nothing here waits without a bound.
// Threads: a Child belongs to the thread that started it, and ends with that thread. Errors: sentences.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace tpmspace::demo {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Whole milliseconds until then, rounded up, never negative, for poll. 0 once we were told to stop.
[[nodiscard]] int milliseconds_left(Deadline deadline);

struct Variable {
  std::string name;
  std::optional<std::string> value;  // nullopt: unset
};
struct Program {
  std::vector<std::string> arguments;  // [0]: a path, or a name to be looked for in PATH
  std::vector<Variable> environment;   // changes to ours
  std::string log;                     // takes its errors (and its output unless it talks)
  bool talks = false;                  // standard input and output are pipes to us
};

class Child {
 public:
  [[nodiscard]] static tl::expected<Child, std::string> start(const Program& program);
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { stop(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Its output, non-blocking; -1 unless it talks.
  [[nodiscard]] int output() const { return output_.get(); }
  // False: it is gone or does not listen.
  bool say(std::string_view text);
  void end_of_input() { input_.reset(); }
  // The next line of its output, without the line's end; nullopt: the output ended, or nothing came in time.
  [[nodiscard]] std::optional<std::string> read_line(Deadline deadline);

  // The wait status; nullopt: it still runs. Once it ended the same answer again.
  [[nodiscard]] std::optional<int> wait(Deadline deadline);
  // SIGTERM, and SIGKILL if it does not end soon.
  void stop();

 private:
  Child(pid_t pid, base::Fd handle) : pid_(pid), handle_(std::move(handle)) {}

  pid_t pid_ = -1;
  base::Fd handle_;  // a pidfd: polls readable once the process has ended
  base::Fd input_, output_;
  std::string unread_;
  std::optional<int> status_;
};

// "exited with code 3", "was killed by signal 9".
[[nodiscard]] std::string how_it_ended(int wait_status);
// Where the running program lies: "/somewhere/bin".
[[nodiscard]] std::string own_directory();

}  // namespace tpmspace::demo
