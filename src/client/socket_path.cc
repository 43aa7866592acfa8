#include "client/socket_path.h"

#include <unistd.h>

#include <cstdlib>

#include "proto/socket_path.h"

namespace tpmspace::client {

std::string default_socket_path() {
  if (const char* path = std::getenv("TPMSPACE_SOCKET"); path != nullptr && *path != '\0') return path;
  if (const char* dir = std::getenv("XDG_RUNTIME_DIR"); dir != nullptr && *dir == '/') {
    std::string path = std::string(dir) + proto::kUserSocket;
    if (access(path.c_str(), F_OK) == 0) return path;
  }
  return proto::kSystemSocket;
}

std::optional<std::string> administrators_socket_path() {
  if (default_socket_path() != proto::kSystemSocket) return std::nullopt;
  // Only root, or the manager's own user, can open this socket.
  if (access(proto::kSystemAdminSocket, R_OK | W_OK) != 0) return std::nullopt;
  return proto::kSystemAdminSocket;
}

}  // namespace tpmspace::client
