// `tpmspace flush`: the administrator takes sessions away from whoever has them. `tpmspace reserve`: he keeps one
// loaded.
//
// Idea: as the manager's own reclaim does it: the client whose session it was is told so when it uses it again, and
// nobody gets another session under that number in its place.
// Errors: sentences on stderr. Exit code 1: no manager, it refused, or a session named is not there; 2: what was asked
// for makes no sense.
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

// Which sessions that means, or a sentence that says what is wrong with it.
[[nodiscard]] tl::expected<proto::SessionOrder, std::string> what_to_flush(const FlushOptions& options);
// A line for each session that was flushed; or that there was none.
[[nodiscard]] std::string flushed_text(const std::vector<proto::SessionEntry>& flushed);
// The sentences for those named that were not there.
[[nodiscard]] std::vector<std::string> not_there(const proto::SessionOrder& what,
                                                 const std::vector<proto::SessionEntry>& flushed);

// Returns the exit code.
[[nodiscard]] int flush_sessions(const FlushOptions& options);
[[nodiscard]] int reserve_session(const ReserveOptions& options);

}  // namespace tpmspace::tool
