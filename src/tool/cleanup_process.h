// Removes a folder when no process needs it any more, even if the tool is killed.
//
// Idea: a child process waits at the end of a pipe. Each process with the other end open (the lease: the tool, and the
// daemon that inherits the lease) needs the folder. When the last of these processes ends in any way, the kernel closes
// the pipe; the child then removes the folder and ends. No other code removes the folder, so each `run` proves this
// path.
// Threads: one, the only thread of the program (fork). Limits: one process and two descriptors.
// Errors: a sentence if the child cannot be started; undeletable files stay.
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
  // Closes the tool's lease and waits: the folder is gone afterwards, unless another process has a lease.
  ~CleanupProcess();

  // For inheritance by a process that needs the folder; closed on exec by default.
  [[nodiscard]] int lease() const { return lease_.get(); }

 private:
  CleanupProcess(pid_t pid, base::Fd lease) : pid_(pid), lease_(std::move(lease)) {}

  pid_t pid_ = -1;
  base::Fd lease_;
};

}  // namespace tpmspace::tool
