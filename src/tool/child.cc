#include "tool/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"
#include "tool/exit_code.h"

namespace tpmspace::tool {
namespace {

// False: the parent has ended already.
bool become_servant(const Servant& servant, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) return false;
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  dup2(servant.output, STDOUT_FILENO);
  dup2(servant.output, STDERR_FILENO);
  fcntl(servant.lease, F_SETFD, 0);
  return true;
}

[[noreturn]] void become(const Launch& launch, pid_t parent, int report) {
  if (launch.servant && !become_servant(*launch.servant, parent)) _exit(kExitRunFailed);
  for (const Variable& variable : launch.environment) {
    if (variable.value)
      setenv(variable.name.c_str(), variable.value->c_str(), 1);
    else
      unsetenv(variable.name.c_str());
  }
  std::vector<char*> arguments;
  for (const std::string& argument : launch.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  sigprocmask(SIG_SETMASK, &launch.mask, nullptr);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  while (write(report, &error, sizeof error) < 0 && errno == EINTR) {
  }
  _exit(kExitNotFound);
}

}  // namespace

tl::expected<pid_t, int> spawn(const Launch& launch) {
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return tl::make_unexpected(errno);
  const base::Fd reading(pipe_ends[0]);
  base::Fd writing(pipe_ends[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return tl::make_unexpected(errno);
  if (pid == 0) become(launch, parent, writing.get());

  writing.reset();
  int error = 0;
  ssize_t n = 0;
  while ((n = read(reading.get(), &error, sizeof error)) < 0 && errno == EINTR) {
  }
  if (n != static_cast<ssize_t>(sizeof error)) return pid;  // the pipe closed with exec
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return tl::make_unexpected(error);
}

std::optional<int> reap(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, WNOHANG) != pid) return std::nullopt;
  return status;
}

int wait_for(pid_t child, const Signals& signals, const std::function<void()>& look) {
  while (true) {
    if (const auto status = reap(child)) return *status;
    pollfd ready{signals.fd(), POLLIN, 0};
    poll(&ready, 1, -1);
    while (const auto signal = signals.next()) {
      const int number = static_cast<int>(signal->ssi_signo);
      if (number != SIGCHLD && Signals::from_a_process(*signal)) kill(child, number);
    }
    look();
  }
}

int exit_code_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? kExitSignalBase + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

std::string how_it_ended(int wait_status) {
  if (!WIFSIGNALED(wait_status)) return "exited with code " + std::to_string(WEXITSTATUS(wait_status));
  const char* name = sigdescr_np(WTERMSIG(wait_status));
  return "was killed by signal " + std::to_string(WTERMSIG(wait_status)) +
         (name != nullptr ? std::string(" (") + name + ")" : "");
}

int cannot_run(const std::string& program, int error) {
  print_error("cannot run " + program + ": " + std::strerror(error));
  return error == ENOENT ? kExitNotFound : kExitCannotExecute;
}

}  // namespace tpmspace::tool
