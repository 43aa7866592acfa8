// `tpmspace connect`: relays standard input and output to the manager's socket and back, so that
// TPM2TOOLS_TCTI="cmd:tpmspace connect" is a TCTI.
//
// Idea: two one-way streams, each with one buffer. A side is polled only for operations that are possible, so the loop
// is never busy. The end of input is passed on as a half-close, and data in transit is delivered.
// Threads: one; blocks until the end. Limits: kRelayBuffer bytes in each direction.
// Errors: if the reader of the output goes away, the end is normal. If the manager closes while input is open, or
// refuses the connection for lack of room (visible in its first response), the end is an error.
#pragma once

#include <cstddef>
#include <string>

#include "base/fd.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

inline constexpr std::size_t kRelayBuffer = std::size_t{16} * 1024;

// Returns the exit code; prints the reason on stderr if not 0. `input` and `output` stay open. `name`: the socket's.
[[nodiscard]] int relay(int input, int output, base::Fd socket, const std::string& name);

// Connects standard input and output with the manager.
[[nodiscard]] int connect_to_manager(const ManagerPlace& manager);

}  // namespace tpmspace::tool
