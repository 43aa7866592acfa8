// Why a client's call did not work, as a value.
//
// Idea: `what` is a sentence for a person (what happened, why, what to do about it); `kind` is for a program.
// Threads: a value.
#pragma once

#include <cstdint>
#include <string>

#include "wire/rc.h"

namespace tpmspace::client {

struct Error {
  enum class Kind : std::uint8_t {
    kNoService,  // nobody serves this socket
    kForbidden,  // somebody does, but not for us
    kBadPath,    // no socket can have this path
    kClosed,     // the manager closed the connection, or the connection broke
    kTimeout,    // a control reply did not come in time
    kProtocol,   // what came is not the protocol that we speak; the connection is of no use any more
    kRefused,    // the manager refused a control message: see `code`
    kSystem,     // the operating system did (out of descriptors, say)
  };
  Kind kind = Kind::kSystem;
  std::string what;
  wire::Rc code = 0;  // kRefused only
};

}  // namespace tpmspace::client
