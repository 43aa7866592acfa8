// `tpmspace sessions`: every active session in the TPM with its holder and idle time, and the clients that wait.
//
// Units: text shows times as "12.5 s" or "3 h 20 min"; JSON has integers, and a time's name ends in "_ns".
// Errors: no manager, or no answer: a sentence on stderr, exit code 1.
#pragma once

#include <cstdint>
#include <string>

#include "proto/sessions.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

[[nodiscard]] std::string sessions_text(const proto::Sessions& sessions);
// One object: {"sessions": [...], "waiting": [...], "hidden_sessions": 0, ...}, one line a session.
[[nodiscard]] std::string sessions_json(const proto::Sessions& sessions);

// Asks the manager and prints. Returns the exit code.
[[nodiscard]] int show_sessions(const ManagerPlace& manager, bool json);

// "hmac"; "client-saved"; the number of an unknown value.
[[nodiscard]] std::string kind_name(proto::SessionKind kind);
[[nodiscard]] std::string state_name(proto::SessionState state);
[[nodiscard]] std::string rebuildable_text(proto::Rebuildable rebuildable);
// "12.5 s", "endless".
[[nodiscard]] std::string age_text(std::uint64_t nanoseconds);

}  // namespace tpmspace::tool
