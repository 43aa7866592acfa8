#include "tool/private_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "client/connection.h"
#include "proto/socket_path.h"
#include "tool/child.h"
#include "tool/exit_code.h"

namespace tpmspace::tool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// A chip may need a long self-test at start; a daemon that must finish a key generation ends late.
constexpr milliseconds kReadyTimeout(120'000);
constexpr milliseconds kStopTimeout(60'000);
constexpr int kTickMs = 50;  // how often the tool checks the socket, in case no notification comes

base::Fd notify_listener(const std::string& path) {
  base::Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), proto::kMaxSocketPath));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);  // NOLINT: the C interface's one type of address
  if (fd && bind(fd.get(), generic, sizeof address) != 0) fd.reset();
  return fd;
}

enum class LogLevel : std::uint8_t { kError, kNotice, kOther };

struct LogLine {
  LogLevel level = LogLevel::kOther;
  std::string text;
};

// The lines of tpmspaced in a log file (src/log/log.h): "TIME tpmspaced: LEVEL: text"; about its command line:
// "tpmspaced: text". Other lines, such as a library's, stay unchanged.
LogLine read_line(const std::string& line) {
  constexpr std::string_view kSpeaker = " tpmspaced: ", kEnd = ": ";
  if (const auto plain = kSpeaker.substr(1); line.starts_with(plain))
    return {LogLevel::kOther, line.substr(plain.size())};
  const auto speaker = line.find(' ');
  if (speaker == std::string::npos || line.compare(speaker, kSpeaker.size(), kSpeaker) != 0)
    return {LogLevel::kOther, line};
  const auto level = speaker + kSpeaker.size();
  const auto end = line.find(kEnd, level);
  if (end == std::string::npos) return {LogLevel::kOther, line};
  const std::string_view name = std::string_view(line).substr(level, end - level);
  const auto of_name = name == "error" ? LogLevel::kError : name == "notice" ? LogLevel::kNotice : LogLevel::kOther;
  return {of_name, line.substr(end + kEnd.size())};
}

std::vector<LogLine> read_log(const std::string& path) {
  std::vector<LogLine> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) out.push_back(read_line(line));
  return out;
}

}  // namespace

PrivateDaemon::PrivateDaemon(pid_t pid, base::Fd notify, std::string socket, std::string log)
    : pid_(pid), notify_(std::move(notify)), socket_(std::move(socket)), log_(std::move(log)) {}

PrivateDaemon::PrivateDaemon(PrivateDaemon&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      notify_(std::move(other.notify_)),
      socket_(std::move(other.socket_)),
      log_(std::move(other.log_)),
      passed_on_(other.passed_on_) {}

// `stop` is the usual way; the destructor is for unexpected exits.
PrivateDaemon::~PrivateDaemon() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

tl::expected<PrivateDaemon, std::string> PrivateDaemon::start(const std::string& program, const std::string& tpm,
                                                              const Workplace& workplace, const Signals& signals) {
  base::Fd notify = notify_listener(workplace.notify_socket());
  const base::Fd log(open(workplace.log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!notify || !log) return tl::make_unexpected("cannot write in " + workplace.path() + ": " + std::strerror(errno));
  Launch launch;
  launch.arguments = {program,
                      "--tpm",
                      tpm,
                      "--socket",
                      workplace.socket(),
                      "--socket-mode",
                      "0600",
                      "--config",
                      workplace.daemon_config()};
  // The variables of systemd are for the tool, not for the daemon.
  launch.environment = {{"NOTIFY_SOCKET", workplace.notify_socket()},
                        {"LISTEN_FDS", std::nullopt},
                        {"LISTEN_PID", std::nullopt},
                        {"LISTEN_FDNAMES", std::nullopt},
                        {"WATCHDOG_USEC", std::nullopt},
                        {"WATCHDOG_PID", std::nullopt}};
  launch.mask = signals.outer();
  launch.servant = Servant{log.get(), workplace.lease()};
  const auto pid = spawn(launch);
  if (!pid) return tl::make_unexpected("cannot start " + program + ": " + std::strerror(pid.error()));
  return PrivateDaemon(*pid, std::move(notify), workplace.socket(), workplace.log());
}

bool PrivateDaemon::told_ready() const {
  std::array<char, 4096> buffer{};
  ssize_t n = 0;
  while ((n = recv(notify_.get(), buffer.data(), buffer.size(), 0)) > 0) {
    std::istringstream lines(std::string(buffer.data(), static_cast<std::size_t>(n)));
    for (std::string line; std::getline(lines, line);)
      if (line == "READY=1") return true;
  }
  return client::connect_socket(socket_).has_value();
}

void PrivateDaemon::pass_on_notices() {
  const auto lines = read_log(log_);
  for (; passed_on_ < lines.size(); ++passed_on_)
    if (lines[passed_on_].level == LogLevel::kNotice) print_error("tpmspaced: " + lines[passed_on_].text);
}

std::string PrivateDaemon::ended_early(int wait_status) const {
  std::string sentence = "tpmspaced did not start: it " + how_it_ended(wait_status);
  const auto lines = read_log(log_);
  if (!lines.empty()) sentence += "; it said:";
  for (const auto& line : lines) sentence += "\n  " + line.text;
  return sentence;
}

tl::expected<std::optional<int>, std::string> PrivateDaemon::wait_ready(const Signals& signals) {
  const auto deadline = Clock::now() + kReadyTimeout;
  while (Clock::now() < deadline) {
    std::array<pollfd, 2> fds = {{{signals.fd(), POLLIN, 0}, {notify_.get(), POLLIN, 0}}};
    poll(fds.data(), fds.size(), kTickMs);
    while (const auto signal = signals.next())
      if (signal->ssi_signo != SIGCHLD) return static_cast<int>(signal->ssi_signo);
    pass_on_notices();
    if (told_ready()) return std::nullopt;
    if (const auto status = reap(pid_)) {
      pid_ = -1;
      return tl::make_unexpected(ended_early(*status));
    }
  }
  return tl::make_unexpected("tpmspaced was not ready within " + std::to_string(kReadyTimeout.count() / 1000) +
                             " s; is the TPM stuck?\n" + errors());
}

std::optional<std::string> PrivateDaemon::look() {
  if (pid_ < 0) return std::nullopt;
  const auto status = reap(pid_);
  if (!status) return std::nullopt;
  pid_ = -1;
  return "tpmspaced " + how_it_ended(*status) + " while the command was running; the command has no TPM any more";
}

void PrivateDaemon::stop(const Signals& signals) {
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);
  const auto deadline = Clock::now() + kStopTimeout;
  while (!reap(pid_)) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return;  // the destructor kills the daemon; separate, so that this loop cannot wait for ever
    pollfd ready{signals.fd(), POLLIN, 0};
    poll(&ready, 1, static_cast<int>(left));
    while (const auto signal = signals.next())
      if (signal->ssi_signo != SIGCHLD) kill(pid_, SIGTERM);
  }
  pid_ = -1;
}

std::string PrivateDaemon::errors() const {
  std::string out;
  for (const auto& line : read_log(log_)) {
    if (line.level != LogLevel::kError) continue;
    if (!out.empty()) out.append("\n");
    out.append("tpmspaced: ").append(line.text);
  }
  return out;
}

}  // namespace tpmspace::tool
