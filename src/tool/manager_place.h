// Where the manager is, and which of its TPMs is meant: what most subcommands are told by --socket and --chip.
//
// Threads: a value. Errors: as client::Connection.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "client/connection.h"

namespace tpmspace::tool {

struct ManagerPlace {
  std::string socket = {};  // empty: the default
  std::string chip = {};    // empty: the one that the manager gives
};

[[nodiscard]] std::string socket_of(const ManagerPlace& place);
[[nodiscard]] tl::expected<client::Connection, client::Error> connect_to(const ManagerPlace& place);
// For requests to the manager itself: by the listener for administrators, if no socket is named and it is there for us.
[[nodiscard]] tl::expected<client::Connection, client::Error> connect_to_administer(const ManagerPlace& place);

}  // namespace tpmspace::tool
