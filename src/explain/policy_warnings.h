// Warnings about valid but unlikely settings of a configuration.
//
// Idea: a warning is a sentence with a line. Warnings cover each rule or namespace that cannot match, each profile that
// no client gets, each command of a profile whose set is empty and each set without a command (guard/needs.h), each
// rule or listener that gives every user more than `safe`, each listener whose clients are refused all commands, each
// chip that no table names, each ledger or state of a TPM without a place, and each rule or namespace by which a client
// with an unknown attribute can get more than a fully known client. The daemon works with the file all the same.
// Threads: functions of their arguments, except this_machine(), which reads /proc. Errors: none.
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
