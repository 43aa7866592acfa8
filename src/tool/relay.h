// `tpmspace connect`: standard input and output to the manager's socket and back, so that
// TPM2TOOLS_TCTI="cmd:tpmspace connect" is a TCTI.
//
// Idea: two one-way streams, each with one buffer; a side is polled only for what can be done with it, so there is
// never a busy loop. The end of input is passed on as a half-close, and what is still on its way is delivered.
// Threads: one; blocks until it is over. Sizes: kRelayBuffer octets in each direction.
// Errors: whoever reads our output going away is the normal end; the manager closing while input is open is an error,
// and so is a manager that has no place for us, which is seen in its first answer.
#pragma once

#include <cstddef>
#include <string>

#include "base/fd.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

inline constexpr std::size_t kRelayBuffer = std::size_t{16} * 1024;

// Returns the exit code; says on stderr why if it is not 0. `input` and `output` stay open. `name`: the socket's.
[[nodiscard]] int relay(int input, int output, base::Fd socket, const std::string& name);

// Connects standard input and output with the manager.
[[nodiscard]] int connect_to_manager(const ManagerPlace& manager);

}  // namespace tpmspace::tool
