// Takes a folder away when nobody needs it any more, also when we are killed.
//
// Idea: a child process that waits at the end of a pipe. Whoever has the other end open (the lease: we, and the daemon
// that inherits it) needs the folder; when the last of them is gone, however it went, the kernel closes the pipe, and
// the child removes the folder and ends. There is no other way out, so each `run` proves this one.
// Threads: one, the only one of the program (fork). Sizes: one process and two descriptors.
// Errors: a sentence if it cannot be started; what cannot be removed is left.
#pragma once

#include <sys/types.h>

#include <string>
#include <tl/expected.hpp>

#include "base/fd.h"

namespace tpmspace::tool {

class CleanupProcess {
 public:
  [[nodiscard]] static tl::expected<CleanupProcess, std::string> start(const std::string& folder);
  CleanupProcess(CleanupProcess&& other) noexcept;
  CleanupProcess(const CleanupProcess&) = delete;
  CleanupProcess& operator=(const CleanupProcess&) = delete;
  CleanupProcess& operator=(CleanupProcess&&) = delete;
  // Gives our lease back and waits: the folder is gone then, unless somebody else still has one.
  ~CleanupProcess();

  // To be inherited by a process that needs the folder; closed on exec unless that is said otherwise.
  [[nodiscard]] int lease() const { return lease_.get(); }

 private:
  CleanupProcess(pid_t pid, base::Fd lease) : pid_(pid), lease_(std::move(lease)) {}

  pid_t pid_ = -1;
  base::Fd lease_;
};

}  // namespace tpmspace::tool
