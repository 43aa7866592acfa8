#include "tool/manager_place.h"

#include "client/socket_path.h"

namespace tpmspace::tool {

std::string socket_of(const ManagerPlace& place) {
  return place.socket.empty() ? client::default_socket_path() : place.socket;
}

tl::expected<client::Connection, client::Error> connect_to(const ManagerPlace& place) {
  constexpr int kTimeoutMs = 30'000;
  auto connection = client::Connection::open(socket_of(place));
  if (!connection || place.chip.empty()) return connection;
  if (const auto used = connection->use_chip(place.chip, kTimeoutMs); !used) return tl::make_unexpected(used.error());
  return connection;
}

}  // namespace tpmspace::tool
