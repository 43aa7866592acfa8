#include "tool/own_connection.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "tool/installation.h"
#include "tool/run.h"

namespace tpmspace::tool {

tl::expected<OwnConnection, std::string> own_connection(const client::Connection& connection) {
  constexpr int kLowest = 10;  // programs expect lower numbers to be free
  OwnConnection out;
  out.fd.reset(::fcntl(connection.fd(), F_DUPFD, kLowest));
  if (!out.fd) return tl::make_unexpected(std::string("no descriptor is free: ") + std::strerror(errno));
  out.environment = client_environment("space:fd=" + std::to_string(out.fd.get()), find_library());
  return out;
}

}  // namespace tpmspace::tool
