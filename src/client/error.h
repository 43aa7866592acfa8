// The error of a client's call, as a value.
//
// Idea: `what` is a sentence for a person (what happened, why, what to do); `kind` is for a program.
// Threads: a value.
#pragma once

#include <cstdint>
#include <string>

#include "wire/rc.h"

namespace tpmspace::client {

struct Error {
  enum class Kind : std::uint8_t {
    kNoService,  // the socket has no server
    kForbidden,  // the server does not admit this user
    kBadPath,    // no socket can have this path
    kClosed,     // the manager closed the connection, or the connection broke
    kTimeout,    // a control reply did not come in time
    kProtocol,   // the data is not of this protocol; the connection is unusable
    kRefused,    // the manager refused a control message: see `code`
    kSystem,     // an error of the operating system (for example, no descriptors left)
  };
  Kind kind = Kind::kSystem;
  std::string what;
  wire::Rc code = 0;  // kRefused only
};

}  // namespace tpmspace::client
