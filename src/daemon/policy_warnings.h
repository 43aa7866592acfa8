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
#include <optional>
#include <string>
#include <vector>

#include "daemon/policy_file.h"

namespace tpmspace::daemon {

struct Warning {
  int line = 0;
  std::string sentence;
  bool operator==(const Warning&) const = default;
};

// What is odd depends on this.
struct Surroundings {
  // We have CAP_SYS_PTRACE, without which executables and namespaces of others are unknown (docs/identity.md).
  bool may_trace = false;
  std::function<bool(const std::string& path)> is_directory = nullptr;
};
[[nodiscard]] Surroundings this_machine();

// Of a listener without a profile: no rule or namespace gives its visitors a profile that lists its locality. `rules`:
// those that somebody wrote are looked at.
using ProfileOf = std::function<const guard::Profile&(const std::string& name)>;
[[nodiscard]] std::optional<std::string> trouble_with_locality(const Listener& listener,
                                                               const std::vector<guard::Rule>& rules,
                                                               const std::vector<guard::Namespace>& namespaces,
                                                               const ProfileOf& profile_of);

// Ordered by line.
[[nodiscard]] std::vector<Warning> warnings_of(const PolicyFile& file, const Surroundings& around);

}  // namespace tpmspace::daemon
