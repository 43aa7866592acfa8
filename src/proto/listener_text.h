// A listener in words, for people.
//
// Idea: apart from proto/listener_messages.h, which the TCTI has in it, too: that is to need no library beside the C++
// one. Threads: a function of its argument. Errors: none.
#pragma once

#include <string>

#include "proto/listener_messages.h"

namespace tpmspace::proto {

// What it is, but for its name, path and connections: "mode 0660, group 33, profile storage, locality 2".
[[nodiscard]] std::string described(const ListenerEntry& listener);

}  // namespace tpmspace::proto
