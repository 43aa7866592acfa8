// What a configuration says that is right and still hardly meant.
//
// Idea: a sentence with a line for each rule or namespace that cannot match, each profile that nobody gets, each
// command of a profile whose set is empty and each set without a command for it (guard/needs.h), each rule or listener
// that gives to everybody more than `safe`, each listener whose visitors are refused everything, each chip that nothing
// names, each ledger or state of a TPM that has no place, each rule or namespace by which a client of which something
// is unknown can get more than one that is known. The daemon works with the file all the same. Threads: functions of
// their arguments, but this_machine(), which reads /proc. Errors: none.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/policy_file.h"

namespace tpmspace::explain {

struct Warning {
  int line = 0;
  std::string sentence;
  bool operator==(const Warning&) const = default;
};

// Facts about the machine that the warnings depend on.
struct Surroundings {
  // We have CAP_SYS_PTRACE, without which other users' executables and namespaces are unknown (docs/identity.md).
  bool may_trace = false;
  std::function<bool(const std::string& path)> is_directory = nullptr;
};
[[nodiscard]] Surroundings this_machine();

// Ordered by line.
[[nodiscard]] std::vector<Warning> warnings_of(const config::PolicyFile& file, const Surroundings& around);

}  // namespace tpmspace::explain
