#include "tool/manager_place.h"

#include "client/socket_path.h"
#include "tool/time_limits.h"

namespace tpmspace::tool {

std::string socket_of(const ManagerPlace& place) {
  return place.socket.empty() ? client::default_socket_path() : place.socket;
}

namespace {

using Connected = tl::expected<client::Connection, client::Error>;

Connected with_chip(Connected connection, const std::string& chip) {
  if (!connection || chip.empty()) return connection;
  if (const auto used = connection->use_chip(chip, kChangeMs); !used) return tl::make_unexpected(used.error());
  return connection;
}

}  // namespace

tl::expected<client::Connection, client::Error> connect_to(const ManagerPlace& place) {
  return with_chip(client::Connection::open(socket_of(place)), place.chip);
}

tl::expected<client::Connection, client::Error> connect_to_administer(const ManagerPlace& place) {
  const auto path = place.socket.empty() ? client::administrators_socket_path() : std::nullopt;
  if (!path) return connect_to(place);
  auto connection = client::Connection::open(*path);
  // The socket of an earlier tpmspaced has no server.
  return connection ? with_chip(std::move(connection), place.chip) : connect_to(place);
}

}  // namespace tpmspace::tool
