// The manager's socket, for TCTI and tool alike.
//
// Idea: TPMSPACE_SOCKET if set; otherwise $XDG_RUNTIME_DIR/tpmspace/tpm.sock if that socket exists; otherwise the
// system's.
// Threads: reads the environment: not while another thread changes it.
#pragma once

#include <optional>
#include <string>

namespace tpmspace::client {

[[nodiscard]] std::string default_socket_path();
// The system's listener for administrators, with places even under a flood of other users' connections. Nullopt: not
// for this process, or missing, or `default_socket_path` is another manager's.
[[nodiscard]] std::optional<std::string> administrators_socket_path();

}  // namespace tpmspace::client
