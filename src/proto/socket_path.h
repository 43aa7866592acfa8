// Where a tpmspace socket lies, for those who make it and those who look for it.
//
// Units: octets. Source: unix(7): a socket's path has up to 108 octets, the closing zero included.
#pragma once

#include <cstddef>

namespace tpmspace::proto {

inline constexpr const char* kSystemSocket = "/run/tpmspace/tpm.sock";
inline constexpr const char* kUserSocket = "/tpmspace/tpm.sock";  // below $XDG_RUNTIME_DIR
// The listener for administrators. It is not in the directory of the system's socket: that may be mounted into
// containers.
inline constexpr const char* kSystemAdminSocket = "/run/tpmspace-listeners/admin/tpm.sock";

// The daemon makes the socket as PATH.new and renames it when it can be used, so a path has room for that suffix. What
// nobody can make nobody needs to connect to, so this is the clients' limit as well: there is one number to know.
inline constexpr const char* kNewSocketSuffix = ".new";
inline constexpr std::size_t kMaxSocketPath = 103;

}  // namespace tpmspace::proto
