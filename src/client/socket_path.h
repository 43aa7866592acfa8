// Where the manager's socket is, for TCTI and tool alike.
//
// Idea: TPMSPACE_SOCKET if it is set; else $XDG_RUNTIME_DIR/tpmspace/tpm.sock if it is there; else the system's.
// Threads: reads the environment: not while another thread changes it.
// Source: DESIGN "Programs".
#pragma once

#include <cstddef>
#include <string>

namespace tpmspace::client {

inline constexpr const char* kSystemSocket = "/run/tpmspace/tpm.sock";
// What sun_path holds, less the terminating zero. Octets.
inline constexpr std::size_t kMaxSocketPath = 107;

[[nodiscard]] std::string default_socket_path();

}  // namespace tpmspace::client
