// Commands by name, as people write them: "TPM2_NV_Read", "NV_Read", "tpm2_nvread".
//
// Idea: names are compared without regard to case, and without the prefix "TPM2_" and the character "_". So a name from
// the specification and a name from tpm2-tools both work. No two commands then have the same name, and no command has
// the name of a class: a class like "nv-read" keeps its "-" (tests/unit/wire/command_name_test.cc checks both).
// Threads: functions of their arguments. Errors: null for a name that no command has.
#pragma once

#include <string>
#include <string_view>

#include "wire/command_table.h"

namespace tpmspace::wire {

// "TPM2_NV_Read" -> "nvread"
[[nodiscard]] std::string comparable_name(std::string_view name);
[[nodiscard]] const CommandRow* command_named(std::string_view name, const CommandTable& table);

}  // namespace tpmspace::wire
