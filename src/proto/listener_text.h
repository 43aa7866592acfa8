// A listener in words, for people.
//
// Idea: separate from proto/listener_messages.h, which is also part of the TCTI: the TCTI must need no library beside
// the C++ library. Threads: a function of its argument. Errors: none.
#pragma once

#include <string>

#include "proto/listener_messages.h"

namespace tpmspace::proto {

// The listener without name, path and connections: "mode 0660, group 33, profile storage, locality 2".
[[nodiscard]] std::string described(const ListenerEntry& listener);

}  // namespace tpmspace::proto
