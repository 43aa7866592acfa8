// Where the sockets of listeners are.
//
// Threads: functions of their arguments; a relative path is that of the current directory.
#pragma once

#include <string>
#include <string_view>

namespace tpmspace::config {

// Where a listener is of which only the name is said: in a directory of its own, so that this directory can be mounted
// into a container without any other listener. "/run/tpmspace/tpm.sock", "build" ->
// "/run/tpmspace-listeners/build/tpm.sock". `main`: the path of the daemon's own socket. Precondition:
// is_directory_name.
[[nodiscard]] std::string default_listener_path(std::string_view main, std::string_view name);
// Whether two paths are one, also where one of them is written otherwise: "/a/./b".
[[nodiscard]] bool same_place(std::string_view a, std::string_view b);
// Whether a listener's name can be that of a directory.
[[nodiscard]] bool is_directory_name(std::string_view name);

}  // namespace tpmspace::config
