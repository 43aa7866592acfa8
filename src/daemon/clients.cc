#include "daemon/clients.h"

#include <utility>

namespace tpmspace::daemon {

Clients::Clients(loop::EventLoop& loop, std::uint32_t most, std::function<void()> gone)
    : places_(most),
      turns_(loop,
             [this](host::ClientId id) {
               Client* client = find(id);
               if (client != nullptr) client->connection->turn();
               return client != nullptr;
             }),
      destroying_(loop.deferred([this, gone = std::move(gone)] {
        closed_.clear();
        gone();
      })) {}

void Clients::add(Client client) {
  const Connection& connection = *client.connection;
  const access::ClientIdentity& identity = connection.identity();
  if (client.place) index_.add(connection.id(), identity.holder(), identity.who.pid);
  table_.emplace(connection.id(), std::move(client));
}

Client* Clients::find(host::ClientId id) {
  const auto found = table_.find(id);
  return found == table_.end() ? nullptr : &found->second;
}

void Clients::remove(host::ClientId id) {
  const auto found = table_.find(id);
  const access::ClientIdentity& identity = found->second.connection->identity();
  if (found->second.place) index_.remove(id, identity.holder(), identity.who.pid);
  closed_.push_back(std::move(found->second));
  table_.erase(found);
  destroying_.ask();
}

void Clients::for_each(const std::function<void(Client&)>& visit) {
  std::vector<host::ClientId> all;
  all.reserve(table_.size());
  for (const auto& [id, unused] : table_) all.push_back(id);
  for (const host::ClientId id : all)
    if (Client* client = find(id)) visit(*client);
}

void Clients::note_refusal(Client& client, std::string command, wire::Rc code, std::string reason) {
  // The client's own wish is not a refusal.
  if (wire::layer_of(code) != wire::layer_of(wire::kManagerLayer) || code == wire::from_manager(wire::rc::kCanceled))
    return;
  const explain::Refusal refusal{
      .at = std::chrono::steady_clock::now(), .command = std::move(command), .code = code, .reason = std::move(reason)};
  client.use.refusal = std::make_unique<explain::Refusal>(refusal);
  last_refusals_.note(client.connection->identity().holder(), refusal);
}

}  // namespace tpmspace::daemon
