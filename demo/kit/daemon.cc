#include "demo/kit/daemon.h"

#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

namespace tpmspace::demo {
namespace {

constexpr seconds kStartTimeout(15), kStopTimeout(10);
constexpr milliseconds kTick(1);
constexpr int kStatusTimeoutMs = 5000;

}  // namespace

std::string tcti_for(const std::string& socket) {
  const std::string beside = own_directory() + "/../lib/libtss2-tcti-space.so.0";
  const bool built_here = ::access(beside.c_str(), R_OK) == 0;
  return (built_here ? beside : std::string("space")) + ":path=" + socket;
}

tl::expected<Daemon, std::string> Daemon::start(const Scratch& scratch, const std::string& tpm,
                                                const std::string& name) {
  const std::string socket = scratch.file(name + ".sock"), log = scratch.file(name + ".log");
  // An empty file: the system's configuration is not for us.
  const std::string config = scratch.file(name + ".toml");
  std::ofstream{config};
  auto child =
      Child::start({{own_directory() + "/tpmspaced", "--tpm", tpm, "--socket", socket, "--config", config},
                    {{"NOTIFY_SOCKET", std::nullopt}, {"LISTEN_PID", std::nullopt}, {"LISTEN_FDS", std::nullopt}},
                    log,
                    false});
  if (!child) return tl::unexpected(child.error());
  Daemon daemon(std::move(*child), socket, log);
  if (auto ready = daemon.wait_ready(); !ready) return tl::unexpected(ready.error());
  return daemon;
}

tl::expected<void, std::string> Daemon::wait_ready() {
  const auto deadline = Clock::now() + kStartTimeout;
  while (Clock::now() < deadline) {
    if (client::connect_socket(socket_)) return {};
    if (const auto ended = child_.wait(Clock::now()))
      return tl::unexpected("tpmspaced " + how_it_ended(*ended) + "; it said:\n" + tail_of(log_));
    std::this_thread::sleep_for(kTick);
  }
  return tl::unexpected("tpmspaced was not ready in time; it said:\n" + tail_of(log_));
}

tl::expected<proto::Status, std::string> Daemon::status() const {
  auto connection = client::Connection::open(socket_);
  if (!connection) return tl::unexpected(connection.error().what);
  auto status = connection->status(kStatusTimeoutMs);
  if (!status) return tl::unexpected(status.error().what);
  return *status;
}

std::optional<int> Daemon::stop() {
  ::kill(child_.pid(), SIGTERM);
  const auto ended = child_.wait(Clock::now() + kStopTimeout);
  child_.stop();
  return ended;
}

}  // namespace tpmspace::demo
