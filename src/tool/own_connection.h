// A connection that is handed to a command: `open` and `policy learn`.
//
// Idea: a copy of its descriptor that stays open in the command, and the variables that tell TPM programs its number.
// One at a time may use the connection. Threads: a value. Errors: a sentence.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/fd.h"
#include "client/connection.h"
#include "tool/child.h"

namespace tpmspace::tool {

struct OwnConnection {
  base::Fd fd;
  std::vector<Variable> environment;
};

[[nodiscard]] tl::expected<OwnConnection, std::string> own_connection(const client::Connection& connection);

}  // namespace tpmspace::tool
