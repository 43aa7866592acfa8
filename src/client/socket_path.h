// Where the manager's socket is, for TCTI and tool alike.
//
// Idea: TPMSPACE_SOCKET if it is set; else $XDG_RUNTIME_DIR/tpmspace/tpm.sock if it is there; else the system's.
// Threads: reads the environment: not while another thread changes it.
// Source: DESIGN "Programs".
#pragma once

#include <optional>
#include <string>

namespace tpmspace::client {

[[nodiscard]] std::string default_socket_path();
// The system's listener for administrators, which an accept flood of other users does not reach; nullopt: it is not for
// this process, or not there, or `default_socket_path` is another manager's.
[[nodiscard]] std::optional<std::string> administrators_socket_path();

}  // namespace tpmspace::client
