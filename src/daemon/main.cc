// tpmspaced: the daemon. These calls contain the whole program.
#include <cstdlib>

#include "base/standard_streams.h"
#include "daemon/cli.h"
#include "daemon/program.h"
#include "daemon/rereading.h"
#include "explain/policy_report.h"
#include "tpm/connect.h"

int main(int argc, char** argv) {
  tpmspace::base::open_standard_streams();
  const auto arguments = tpmspace::daemon::parse_arguments(argc, argv);
  if (arguments.exit_code) return *arguments.exit_code;
  if (arguments.question) return tpmspace::explain::answer(*arguments.question, arguments.config_file);
  const int code = tpmspace::daemon::run_program(arguments.settings, arguments.config_file);
  if (tpmspace::daemon::Rereading::any_left_behind() || tpmspace::tpm::any_lookup_left_behind()) std::_Exit(code);
  return code;
}
