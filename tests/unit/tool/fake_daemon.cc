#include "fake_daemon.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tool/installation.h"

namespace tpmspace::tool {
namespace {

// Its value; empty if it is not set.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

void serve(const std::string& path) {
  const sockaddr_un address = address_of(path);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 9) != 0)
    _exit(4);  // NOLINT
}

void notify() {
  const sockaddr_un address = address_of(variable("NOTIFY_SOCKET"));
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  const std::string text = "STATUS=fine\nREADY=1\n";
  sendto(fd, text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&address), sizeof address);  // NOLINT
}

std::string argument_after(int argc, char** argv, const std::string& name) {
  for (int i = 1; i + 1 < argc; ++i)
    if (argv[i] == name) return argv[i + 1];
  return "";
}

void write_whole(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new") << text;
  std::filesystem::rename(path + ".new", path);
}

[[noreturn]] void behave(const std::string& behaviour, int argc, char** argv) {
  if (behaviour == "die") {
    (void)std::fputs(
        "2026-11-30T09:22:39.123Z tpmspaced: info: looking for a TPM\n2026-11-30T09:22:39.124Z tpmspaced: error: there "
        "is no TPM: buy one\n",
        stderr);
    _exit(3);
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGUSR1);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  const std::string pid_file = variable("TPMSPACE_FAKE_PID");
  write_whole(pid_file, std::to_string(getpid()));
  if (behaviour == "wait")
    (void)std::fputs(
        "2026-11-30T09:22:39.123Z tpmspaced: info: starts\n2026-11-30T09:22:39.124Z tpmspaced: notice: waiting for "
        "Godot\n",
        stderr);
  if (behaviour == "grumble")
    (void)std::fputs(
        "2026-11-30T09:22:39.123Z tpmspaced: info: all is well\n2026-11-30T09:22:39.124Z tpmspaced: error: all is "
        "lost\n",
        stderr);
  if (behaviour == "serve" || behaviour == "grumble" || behaviour == "wait")
    serve(argument_after(argc, argv, "--socket"));
  if (behaviour == "notify") notify();
  int signal = 0;
  sigwait(&ends, &signal);
  if (signal == SIGUSR1) _exit(5);
  write_whole(pid_file, "ended");
  _exit(0);
}

// Before main, since the test framework owns that one.
__attribute__((constructor)) void perhaps_behave(int argc, char** argv, char**) {
  const char* behaviour = std::getenv("TPMSPACE_FAKE_DAEMON");
  if (behaviour != nullptr && argc > 1 && std::string(argv[1]) == "--tpm") behave(behaviour, argc, argv);
}

}  // namespace

FakeDaemon::FakeDaemon(const std::string& behaviour, const std::string& pid_file, const std::string& runtime_dir)
    : environment{
          {"TPMSPACE_FAKE_DAEMON", behaviour}, {"TPMSPACE_FAKE_PID", pid_file}, {"XDG_RUNTIME_DIR", runtime_dir}} {}

std::vector<std::string> FakeDaemon::run(const std::vector<std::string>& command) const {
  std::vector<std::string> out = {"run", "--tpmspaced", std::filesystem::read_symlink("/proc/self/exe").string(), "--"};
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

}  // namespace tpmspace::tool
