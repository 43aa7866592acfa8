// What a configuration says that is right and still hardly meant.
//
// Idea: a sentence with a line for each rule or namespace that cannot match, each profile that nobody gets, each rule
// or door that gives to everybody more than `safe`, each door whose visitors are refused everything. The daemon works
// with the file all the same. Threads: functions of their arguments, but may_trace(), which reads /proc. Errors: none.
#pragma once

#include <string>
#include <vector>

#include "daemon/policy_file.h"

namespace tpmspace::daemon {

struct Warning {
  int line = 0;
  std::string sentence;
  bool operator==(const Warning&) const = default;
};

// Ordered by line. `may_trace`: we have CAP_SYS_PTRACE, without which executables and namespaces of others are unknown
// (docs/identity.md).
[[nodiscard]] std::vector<Warning> warnings_of(const PolicyFile& file, bool may_trace);

// Whether this process has CAP_SYS_PTRACE.
[[nodiscard]] bool may_trace();

}  // namespace tpmspace::daemon
