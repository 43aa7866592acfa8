#include "tool/policy.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "tool/accounts.h"
#include "tool/clients.h"
#include "tool/exit_code.h"
#include "tool/installation.h"

namespace tpmspace::tool {

std::vector<std::string> daemon_arguments(const PolicyOptions& options) {
  std::vector<std::string> out = {"tpmspace"};  // the name in tpmspaced's error messages
  if (!options.config.empty()) out.push_back("--config=" + options.config);
  if (options.as.empty()) {
    out.emplace_back("--check-config");
    return out;
  }
  out.push_back("--explain=" + options.as);
  out.emplace_back("--");
  out.insert(out.end(), options.words.begin(), options.words.end());
  return out;
}

int ask_daemon(const PolicyOptions& options) {
  constexpr std::string_view kProcess = "pid=";
  if (options.as.starts_with(kProcess)) {
    const auto pid = number_of(std::string_view(options.as).substr(kProcess.size()), 10);
    if (pid && *pid != 0) return explain_process(options.manager, *pid, options.words);
    print_error("--as " + options.as + ": write the number of a process and no other fact, as in pid=4711");
    return kExitUsage;
  }
  if (!options.as.empty() && options.words.empty()) {
    print_error("policy explain needs COMMAND: TPM2_NV_Write 0x01500016, TPM2_PCR_Read pcr=16");
    return kExitUsage;
  }
  const std::string program = options.daemon.empty() ? find_daemon() : options.daemon;
  if (program.empty()) {
    print_error("there is no tpmspaced beside this program or in PATH; install it");
    return kExitFailure;
  }
  std::vector<std::string> arguments = daemon_arguments(options);
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (auto& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  print_error("cannot run " + program + ": " + std::strerror(errno));
  return kExitFailure;
}

}  // namespace tpmspace::tool
