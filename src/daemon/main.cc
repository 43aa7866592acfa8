// tpmspaced: the daemon. Everything is behind these calls.
#include "daemon/cli.h"
#include "daemon/policy_report.h"
#include "daemon/program.h"
#include "posix/standard_streams.h"

int main(int argc, char** argv) {
  tpmspace::posix::open_standard_streams();
  const auto arguments = tpmspace::daemon::parse_arguments(argc, argv);
  if (arguments.exit_code) return *arguments.exit_code;
  if (arguments.question) return tpmspace::daemon::answer(*arguments.question, arguments.config_file);
  return tpmspace::daemon::run_program(arguments.settings, arguments.config_file);
}
