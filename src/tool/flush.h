// `tpmspace flush`: the administrator takes sessions away from their holders. `tpmspace reserve`: the administrator
// keeps a session loaded.
//
// Idea: flush works like the manager's own reclaim: the client of the session gets an error at the next use, and no
// other session gets the number in the client's space before.
// Errors: sentences on stderr. Exit code 1: no manager, a refusal, or a named session does not exist; 2: an invalid
// request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proto/sessions.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

struct FlushOptions {
  ManagerPlace manager;
  std::vector<std::string> handles;
  bool abandoned = false;
  std::optional<std::string> owner;  // a user's name or number
};

struct ReserveOptions {
  ManagerPlace manager;
  std::string handle;
  bool release = false;
};

// The selected sessions, or a sentence about an invalid option.
[[nodiscard]] tl::expected<proto::SessionOrder, std::string> what_to_flush(const FlushOptions& options);
// A line for each flushed session, or a note that no session was flushed.
[[nodiscard]] std::string flushed_text(const std::vector<proto::SessionEntry>& flushed);
// The sentences for named sessions that did not exist.
[[nodiscard]] std::vector<std::string> not_there(const proto::SessionOrder& what,
                                                 const std::vector<proto::SessionEntry>& flushed);

// Returns the exit code.
[[nodiscard]] int flush_sessions(const FlushOptions& options);
[[nodiscard]] int reserve_session(const ReserveOptions& options);

}  // namespace tpmspace::tool
