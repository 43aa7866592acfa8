// A connection for a command: used by `open` and `policy learn`.
//
// Idea: a copy of the descriptor stays open in the command, and variables give its number to TPM programs. One program
// at a time may use the connection.
// Threads: a value. Errors: a sentence.
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
