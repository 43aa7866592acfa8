#include "tool/learn.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "client/connection.h"
#include "proto/control.h"
#include "tool/child.h"
#include "tool/exit_code.h"
#include "tool/own_connection.h"
#include "tool/signals.h"
#include "tool/time_limits.h"
#include "wire/rc.h"

namespace tpmspace::tool {
namespace {

std::string learn_error(const client::Error& error, const std::string& name) {
  if (error.code == wire::from_manager(wire::rc::kValue))
    return "no profile can have the name \"" + name +
           "\": at most 64 letters, digits, \"-\", \"_\" and \".\" are possible, and safe, storage, attest, provision, "
           "admin and default are taken";
  if (error.code == wire::from_manager(wire::rc::kCommandCode))
    return error.what +
           ": this tpmspaced cannot learn profiles, so it is older than tpmspace; install both from the same release";
  return error.what;
}

bool write_to(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) print_error("cannot write to " + path + ": " + std::strerror(errno));
  return static_cast<bool>(file);
}

// The command's exit code; or the tool's, after an error message, if the command could not be run.
tl::expected<int, int> run_with(const client::Connection& connection, const LearnOptions& options) {
  const Signals signals;
  auto own = own_connection(connection);
  if (!own) return tl::make_unexpected(fail(own.error(), kExitRunFailed));
  Launch launch;
  launch.arguments = options.command;
  launch.environment = own->environment;
  launch.mask = signals.outer();
  const auto command = spawn(launch);
  if (!command) return tl::make_unexpected(cannot_run(options.command[0], command.error()));
  own->fd.reset();
  return exit_code_of(wait_for(*command, signals));
}

}  // namespace

int learn(const LearnOptions& options) {
  auto connection = connect_to(options.manager);
  if (!connection) return fail(connection.error().what, kExitRunFailed);
  if (const auto begun = connection->learn(options.name, kChangeMs); !begun)
    return fail(learn_error(begun.error(), options.name), kExitRunFailed);
  const auto code = run_with(*connection, options);
  if (!code) return code.error();

  const auto profile = connection->learn(options.name, kChangeMs);
  if (!profile)
    return fail("tpmspaced did not report the command's use of the TPM: " + profile.error().what, kExitRunFailed);
  if (profile->starts_with(proto::kLearnedNothing)) {
    print_error(
        "nothing was learned: \"" + options.command[0] +
        "\" sent no TPM command over its connection; perhaps the program needs no TPM, ended early, or has another "
        "TCTI on its command line (-T, --tcti) or in its configuration than in TSS2_TCTI and TPM2TOOLS_TCTI");
    return *code == kExitOk ? kExitRunFailed : *code;
  }
  if (options.output.empty()) return print(*profile) ? *code : kExitRunFailed;
  if (write_to(options.output, *profile)) return *code;
  (void)print(*profile);  // so that the profile is not lost
  return kExitRunFailed;
}

}  // namespace tpmspace::tool
