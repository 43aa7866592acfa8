// [profile.NAME] of the configuration, beneath policy_file.h.
//
// Idea: a profile begins as a copy of its base, and the keys of its table override the copy; so bases are read first,
// whatever their order in the file.
// Threads: values. Limits: limits::kProfiles. Errors: in `Faults`.
#pragma once

#include <string>
#include <vector>

#include "config/policy_file.h"

namespace tpmspace::config {

// Precondition: `out.terms` and `out.limits` are set.
void read_profiles(const TomlNode& root, PolicyFile& out, Faults& faults);

[[nodiscard]] std::vector<std::string> known_profile_keys();

// The kind of the set's numbers. Null: commands.
[[nodiscard]] const NumberKind* kind_of(const guard::SetOfProfile& set);

}  // namespace tpmspace::config
