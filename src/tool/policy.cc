#include "tool/policy.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tool/exit_code.h"
#include "tool/installation.h"

namespace tpmspace::tool {

std::vector<std::string> daemon_arguments(const std::string& program, const PolicyOptions& options) {
  std::vector<std::string> out = {program};
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
  const std::string program = options.daemon.empty() ? find_daemon() : options.daemon;
  if (program.empty()) {
    complain("there is no tpmspaced beside this program or in PATH; install it");
    return kExitFailure;
  }
  std::vector<std::string> arguments = daemon_arguments(program, options);
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (auto& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  complain("cannot run " + program + ": " + std::strerror(errno));
  return kExitFailure;
}

}  // namespace tpmspace::tool
