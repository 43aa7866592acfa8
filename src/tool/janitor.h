// Takes a folder away when nobody needs it any more, also when we are killed.
//
// Idea: a child process that waits at the end of a pipe. Whoever has the other end open (the lease: we, and the daemon
// that inherits it) needs the folder; when the last of them is gone, however it went, the kernel closes the pipe, and
// the child removes the folder and ends. There is no other way out, so each `run` proves this one.
// Threads: one, the only one of the program (fork). Sizes: one process and two descriptors.
// Errors: a sentence if it cannot be hired; what cannot be removed is left.
#pragma once

#include <sys/types.h>

#include <string>
#include <tl/expected.hpp>

#include "posix/fd.h"

namespace tpmspace::tool {

class Janitor {
 public:
  [[nodiscard]] static tl::expected<Janitor, std::string> hire(const std::string& folder);
  Janitor(Janitor&& other) noexcept;
  Janitor(const Janitor&) = delete;
  Janitor& operator=(const Janitor&) = delete;
  Janitor& operator=(Janitor&&) = delete;
  // Gives our lease back and waits: the folder is gone then, unless somebody else still has one.
  ~Janitor();

  // To be inherited by a process that needs the folder; closed on exec unless that is said otherwise.
  [[nodiscard]] int lease() const { return lease_.get(); }

 private:
  Janitor(pid_t pid, posix::Fd lease) : pid_(pid), lease_(std::move(lease)) {}

  pid_t pid_ = -1;
  posix::Fd lease_;
};

}  // namespace tpmspace::tool
