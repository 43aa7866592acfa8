// [[namespace]] of the configuration, beneath policy_file.h.
//
// Idea: one table becomes one value; policy_file.h checks the references to other tables (a profile, a listener,
// another window). Threads: functions of their arguments. Limits: limits::kMaxName bytes of a name,
// limits::kListEntries of a list. Errors: in `Faults`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/number_list.h"
#include "config/table_reader.h"
#include "config/toml_tree.h"
#include "guard/namespaces.h"

namespace tpmspace::config {

// Nullopt: the table has no name.
[[nodiscard]] std::optional<guard::Namespace> read_namespace(const TomlNode& table, const Accounts& accounts,
                                                             Faults& faults);

// "namespace.name"
[[nodiscard]] std::vector<std::string> known_namespace_keys();

}  // namespace tpmspace::config
