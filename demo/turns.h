// A helper that only takes turns: the bare TPM behind a socket, one whole frame at a time, and nothing managed.
//
// Idea: this is what a TPM is to many programs without a resource manager, at its best: nobody's bytes are mixed up,
// and everybody sees the chip's own handles, slots and sessions. It says "ready" on its standard output when clients
// may connect; at the end of its standard input it says what it passed on and what is left in the TPM ("COMMANDS
// OBJECTS SESSIONS"), and ends. Threads: one. Source: docs of the native protocol (proto/frame.h), of which it speaks
// the TPM's frames.
#pragma once

#include <string>

namespace tpmspace::demo {

// The exit code.
int take_turns(const std::string& socket);

}  // namespace tpmspace::demo
