#include "tool/cleanup_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

namespace tpmspace::tool {
namespace {

// Keeps only the pipe open: a pipeline that reads the tool's output must not wait for this process, and no file system
// may stay busy.
void become_nobody(int end_of_lease) {
  setsid();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  const int nothing = open("/dev/null", O_RDWR);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nothing, standard);
  constexpr unsigned kFirst = STDERR_FILENO + 1;
  const auto kept = static_cast<unsigned>(end_of_lease);
  if (kept > kFirst) close_range(kFirst, kept - 1, 0);
  close_range(kept + 1, std::numeric_limits<unsigned>::max(), 0);
  if (chdir("/") != 0) return;  // on failure the directory stays; no code depends on it
}

[[noreturn]] void clean_up_after(int end_of_lease, const std::string& folder) {
  become_nobody(end_of_lease);
  std::array<char, 1> nothing{};
  while (read(end_of_lease, nothing.data(), nothing.size()) < 0 && errno == EINTR) {
  }
  std::error_code ignored;  // files that another process still writes during the removal stay
  std::filesystem::remove_all(folder, ignored);
  _exit(0);
}

}  // namespace

tl::expected<CleanupProcess, std::string> CleanupProcess::start(const std::string& folder) {
  std::array<int, 2> ends{-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    return tl::make_unexpected(std::string("cannot make a pipe: ") + std::strerror(errno));
  const base::Fd end_of_lease(ends[0]);
  base::Fd lease(ends[1]);
  const pid_t pid = fork();
  if (pid < 0)
    return tl::make_unexpected(std::string("cannot start a process: ") + std::strerror(errno) +
                               "; is a limit of processes reached (ulimit -u)?");
  if (pid == 0) clean_up_after(end_of_lease.get(), folder);
  return CleanupProcess(pid, std::move(lease));
}

CleanupProcess::CleanupProcess(CleanupProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), lease_(std::move(other.lease_)) {}

CleanupProcess::~CleanupProcess() {
  if (pid_ < 0) return;
  lease_.reset();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace tpmspace::tool
