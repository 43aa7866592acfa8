// The manager's socket and TPM: --socket and --chip of most subcommands.
//
// Threads: a value. Errors: as client::Connection.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "client/connection.h"

namespace tpmspace::tool {

struct ManagerPlace {
  std::string socket = {};  // empty: the default
  std::string chip = {};    // empty: the manager's choice
};

[[nodiscard]] std::string socket_of(const ManagerPlace& place);
[[nodiscard]] tl::expected<client::Connection, client::Error> connect_to(const ManagerPlace& place);
// For requests to the manager itself: uses the listener for administrators if no socket is named and this process may
// use it.
[[nodiscard]] tl::expected<client::Connection, client::Error> connect_to_administer(const ManagerPlace& place);

}  // namespace tpmspace::tool
