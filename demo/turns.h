// A helper that only takes turns: the bare TPM behind a socket, one complete frame at a time, without any management.
//
// Idea: at best, many programs without a resource manager share a TPM in this way: no client's bytes are mixed up, and
// every client sees the chip's own handles, slots and sessions. The helper writes "ready" to standard output when
// clients may connect; at the end of its standard input it writes the number of commands passed on and of objects and
// sessions left in the TPM ("COMMANDS OBJECTS SESSIONS"), and ends. Threads: one. Source: docs of the native protocol
// (proto/frame.h), of which it speaks the TPM's frames.
#pragma once

#include <string>

namespace tpmspace::demo {

// The exit code.
int take_turns(const std::string& socket);

}  // namespace tpmspace::demo
