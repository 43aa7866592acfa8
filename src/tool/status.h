// `tpmspace status`: the manager's status, as text or as JSON.
//
// Idea: both forms come from the one list of fields (proto/status.h), so a new field needs no line here.
// Units: text shows times as "1.25 s"; JSON has integers, and a time's name ends in "_ns".
// Errors: no manager, or no answer: a sentence on stderr, exit code 1.
#pragma once

#include <string>

#include "proto/status.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

[[nodiscard]] std::string status_text(const proto::Status& status);
// One object: {"group": {"name": value, ...}, ...}, one line a group.
[[nodiscard]] std::string status_json(const proto::Status& status);

// Asks the manager and prints. Returns the exit code.
[[nodiscard]] int show_status(const ManagerPlace& manager, bool json);

// 1500 -> "1.50 µs".
[[nodiscard]] std::string duration_text(std::uint64_t nanoseconds);
// "TPM2_GetRandom", or the number of an unknown command.
[[nodiscard]] std::string command_name(std::uint64_t code);

}  // namespace tpmspace::tool
