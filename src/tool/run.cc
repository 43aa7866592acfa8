#include "tool/run.h"

#include <poll.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tool/exit_code.h"
#include "tool/private_daemon.h"

namespace tpmspace::tool {
namespace {

namespace fs = std::filesystem;

// Where libtss2-tcti-space.so.0 lies relative to this program; empty if not there, since it is installed then.
std::string library_directory() {
  std::error_code failed;
  const fs::path folder = fs::weakly_canonical(own_directory() + "/../lib", failed);
  return fs::exists(folder / "libtss2-tcti-space.so.0", failed) ? folder.string() : "";
}

// The command's end: its wait status.
int wait_for(pid_t command, PrivateDaemon& daemon, const Signals& signals) {
  while (true) {
    if (const auto status = reap(command)) return *status;
    pollfd ready{signals.fd(), POLLIN, 0};
    poll(&ready, 1, -1);
    while (const auto signal = signals.next()) {
      const int number = static_cast<int>(signal->ssi_signo);
      if (number != SIGCHLD && Signals::from_a_process(*signal)) kill(command, number);
    }
    if (const auto ended = daemon.look()) complain(*ended);
  }
}

int run_command(const RunOptions& options, const Workplace& workplace, PrivateDaemon& daemon, const Signals& signals) {
  Launch launch;
  launch.arguments = options.command;
  launch.environment = client_environment(workplace.socket(), workplace.fapi_config());
  launch.mask = signals.outer();
  const auto command = spawn(launch);
  if (!command) {
    complain("cannot run " + options.command[0] + ": " + std::strerror(command.error()));
    return command.error() == ENOENT ? kExitNotFound : kExitCannotExecute;
  }
  return exit_code_of(wait_for(*command, daemon, signals));
}

int fail(const std::string& sentence) {
  complain(sentence);
  return kExitRunFailed;
}

}  // namespace

std::vector<Variable> client_environment(const std::string& socket, const std::string& fapi_config) {
  const std::string tcti = "space:path=" + socket;
  std::vector<Variable> out = {{"TPMSPACE_SOCKET", socket},
                               {"TPM2TOOLS_TCTI", tcti},
                               {"TPM2OPENSSL_TCTI", tcti},
                               {"TPM2_PKCS11_TCTI", tcti},
                               {"TSS2_FAPICONF", fapi_config}};
  const std::string folder = library_directory();
  if (folder.empty()) return out;
  const char* old = std::getenv("LD_LIBRARY_PATH");
  const bool more = old != nullptr && *old != '\0';
  out.push_back({"LD_LIBRARY_PATH", more ? folder + ":" + old : folder});
  return out;
}

int run(const RunOptions& options) {
  const Signals signals;
  const std::string program = options.daemon.empty() ? find_daemon() : options.daemon;
  if (program.empty()) return fail("there is no tpmspaced beside this program or in PATH; install it");
  const auto workplace = Workplace::make();
  if (!workplace) return fail(workplace.error());
  auto daemon = PrivateDaemon::start(program, options.tpm, *workplace, signals);
  if (!daemon) return fail(daemon.error());

  const auto ready = daemon->wait_ready(signals);
  if (!ready) return fail(ready.error());
  const int code = *ready ? kExitSignalBase + **ready : run_command(options, *workplace, *daemon, signals);
  daemon->stop(signals);
  if (const std::string errors = daemon->errors(); !errors.empty()) complain(errors);
  return code;
}

}  // namespace tpmspace::tool
