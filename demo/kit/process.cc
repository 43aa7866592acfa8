#include "demo/kit/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "demo/kit/interrupt.h"

namespace tpmspace::demo {
namespace {

constexpr seconds kPatience(10);  // between asking a program to end and killing it

struct Pipe {
  base::Fd reading, writing;
};

Pipe make_pipe() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  return {base::Fd(ends[0]), base::Fd(ends[1])};
}

// Pointers into the texts and a null pointer at the end, as execv needs.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// Our environment with the changes.
std::vector<std::string> changed_environment(const std::vector<Variable>& changes) {
  std::vector<std::string> out;
  const auto is_changed = [&](std::string_view line) {
    return std::any_of(changes.begin(), changes.end(),
                       [&](const Variable& v) { return line.starts_with(v.name + "="); });
  };
  for (char** line = environ; *line != nullptr; ++line)
    if (!is_changed(*line)) out.emplace_back(*line);
  for (const auto& [name, value] : changes)
    if (value) out.push_back(name + "=" + *value);
  return out;
}

// The child's side, made before the fork: after it, only system calls.
struct Outfit {
  int input = -1, output = -1, errors = -1;
  std::vector<char*> arguments, environment;
};

[[noreturn]] void become(const Outfit& outfit, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::dup2(outfit.input, STDIN_FILENO);
  if (outfit.output >= 0) ::dup2(outfit.output, STDOUT_FILENO);
  if (outfit.errors >= 0) ::dup2(outfit.errors, STDERR_FILENO);
  ::execvpe(outfit.arguments[0], outfit.arguments.data(), outfit.environment.data());
  ::_exit(127);
}

// glibc 2.36 declares pidfd_open without C linkage.
base::Fd open_process(pid_t pid) {
  return base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool poll_one(int fd, short events, Deadline deadline) {
  pollfd waiting{fd, events, 0};
  for (;;) {
    const int n = ::poll(&waiting, 1, milliseconds_left(deadline));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

}  // namespace

int milliseconds_left(Deadline deadline) {
  if (interrupted()) return 0;
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000));
}

tl::expected<Child, std::string> Child::start(const Program& program) {
  Pipe input, output;
  base::Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC)), log;
  if (program.talks) input = make_pipe(), output = make_pipe();
  if (!program.log.empty())
    log = base::Fd(::open(program.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const auto environment = changed_environment(program.environment);
  Outfit outfit{nothing.get(), log.get(), log.get(), pointers(program.arguments), pointers(environment)};
  if (program.talks) outfit.input = input.reading.get(), outfit.output = output.writing.get();

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) become(outfit, parent);
  if (pid < 0) return tl::unexpected("cannot start " + program.arguments[0] + ": " + std::strerror(errno));
  Child child(pid, open_process(pid));
  if (program.talks) {
    child.input_ = std::move(input.writing);
    child.output_ = std::move(output.reading);
    ::fcntl(child.output_.get(), F_SETFL, O_NONBLOCK);
  }
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      handle_(std::move(other.handle_)),
      input_(std::move(other.input_)),
      output_(std::move(other.output_)),
      unread_(std::move(other.unread_)),
      status_(other.status_) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  stop();
  pid_ = std::exchange(other.pid_, -1);
  handle_ = std::move(other.handle_);
  input_ = std::move(other.input_);
  output_ = std::move(other.output_);
  unread_ = std::move(other.unread_);
  status_ = other.status_;
  return *this;
}

bool Child::say(std::string_view text) {
  // The main program ignores SIGPIPE. The message is short: it fits the pipe.
  return input_ && ::write(input_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::optional<std::string> Child::read_line(Deadline deadline) {
  for (;;) {
    if (const auto end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    std::array<char, 512> buffer{};
    const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
    if (n > 0) unread_.append(buffer.data(), static_cast<std::size_t>(n));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return std::nullopt;
    if (n < 0 && !poll_one(output_.get(), POLLIN, deadline)) return std::nullopt;
  }
}

std::optional<int> Child::wait(Deadline deadline) {
  if (status_ || pid_ < 0) return status_;
  if (!poll_one(handle_.get(), POLLIN, deadline)) return std::nullopt;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_;
}

void Child::stop() {
  if (pid_ < 0) return;
  if (!wait(Clock::now())) {
    ::kill(pid_, SIGTERM);
    if (!wait(Clock::now() + kPatience)) {
      ::kill(pid_, SIGKILL);
      while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }
  pid_ = -1;
}

std::string how_it_ended(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "was killed by signal " + std::to_string(WTERMSIG(wait_status));
  return "exited with code " + std::to_string(WEXITSTATUS(wait_status));
}

std::string own_directory() {
  std::error_code failed;
  return std::filesystem::read_symlink("/proc/self/exe", failed).parent_path().string();
}

}  // namespace tpmspace::demo
