// The values of conditions of a [[rule]] or a [[namespace]].
//
// Threads: functions of their arguments. Limits: bytes of a pattern: base/limits.h. Errors: as in table_reader.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/number_list.h"
#include "config/table_reader.h"
#include "guard/pattern.h"

namespace tpmspace::config {

// As take_numbers; an empty list is a mistake.
[[nodiscard]] Fault take_some(const TomlNode& node, const NumberKind& kind, std::optional<Numbers>& out,
                              const Accounts::Look& named = nullptr);
// The pattern of a path.
[[nodiscard]] Fault take_path_pattern(const TomlNode& node, std::optional<guard::Pattern>& out);
// The pattern of a name in a cgroup's path.
[[nodiscard]] Fault take_name_pattern(const TomlNode& node, std::optional<guard::Pattern>& out);
// The inode of a kernel namespace.
[[nodiscard]] Fault take_inode(const TomlNode& node, std::optional<std::uint64_t>& out);
[[nodiscard]] Fault take_optional_text(const TomlNode& node, std::optional<std::string>& out, std::size_t most);

}  // namespace tpmspace::config
