// The connected clients: their connections, places and turns, and what reports and audit records need of each.
//
// Idea: one table by the connection's number, and an index of the clients with a place. A client without a place is
// above a limit: its connection is answered once and closed. A closed connection leaves the table at once, and is
// destroyed later, outside its own callbacks.
// Threads: belongs to the event loop. Limits: ClientLimits; Admission bounds the clients without a place.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "access/client_limits.h"
#include "daemon/client_index.h"
#include "daemon/connection.h"
#include "daemon/turns.h"
#include "explain/last_refusals.h"
#include "loop/event_loop.h"
#include "loop/listeners.h"
#include "observe/account.h"
#include "observe/audit.h"

namespace tpmspace::daemon {

// A client's activity, for reports.
struct Use {
  std::uint64_t commands = 0;                                           // commands sent
  std::uint64_t tpm_time = 0;                                           // nanoseconds
  std::optional<std::chrono::steady_clock::time_point> submitted = {};  // start of the command under way
  wire::CommandCode command = 0;                                        // code of the command under way
  observe::Held held = {};                                              // after its last command
  std::unique_ptr<explain::Refusal> refusal = {};                       // the last refusal; null: none
  bool is_noted = false;  // the reason of the refusal that `answered_early` will report is recorded already
};

struct Client {
  std::unique_ptr<Connection> connection;
  std::optional<access::ClientLimits::Place> place = {};  // none: above a limit, to be answered and closed
  std::optional<loop::Listeners::Visit> visit = {};       // none: above a limit
  std::optional<proto::SessionOrder> order = {};          // order under way
  std::optional<observe::AuditRecord> change = {};        // the client's command under way affects all users
  // About the list of sessions that the client waits for.
  bool wants_status = false;   // only the numbers are wanted
  bool tells_tenants = false;  // the client was an administrator when it asked
  Use use = {};

  // A refused client's commands are not run: the main TPM's table will do.
  [[nodiscard]] std::size_t spoken_to() const { return place ? connection->identity().chip : 0; }
};

class Clients {
 public:
  // `most`: clients with a place; 0: no limit. `gone` is called after closed connections were destroyed.
  Clients(loop::EventLoop& loop, std::uint32_t most, std::function<void()> gone);

  [[nodiscard]] host::ClientId next_number() { return ++last_; }
  // A client with a place is found by `index`.
  void add(Client client);
  // Null: the client has left.
  [[nodiscard]] Client* find(host::ClientId id);
  // Precondition: the connection is not closed.
  [[nodiscard]] Client& of(const Connection& connection) { return *find(connection.id()); }
  // The connection is closed: `find` no longer returns the client, which is destroyed later.
  void remove(host::ClientId id);
  // `visit` may close connections.
  void for_each(const std::function<void(Client&)>& visit);

  // Records a refusal with our layer, for the client and for its user.
  void note_refusal(Client& client, std::string command, wire::Rc code, std::string reason);
  [[nodiscard]] const explain::LastRefusals& last_refusals() const { return last_refusals_; }

  [[nodiscard]] const ClientIndex& index() const { return index_; }
  [[nodiscard]] access::ClientLimits& places() { return places_; }
  [[nodiscard]] Turns& turns() { return turns_; }
  // Clients without a place, now.
  [[nodiscard]] std::size_t without_place() const { return table_.size() - index_.size(); }
  // Connections since the start; connections refused since the start.
  [[nodiscard]] std::uint64_t ever() const { return last_; }
  [[nodiscard]] std::uint64_t refused_ever() const { return refused_ever_; }
  void count_refused() { ++refused_ever_; }

 private:
  access::ClientLimits places_;
  Turns turns_;  // of connections with frames to handle
  ClientIndex index_;
  explain::LastRefusals last_refusals_;
  host::ClientId last_ = 0;
  std::uint64_t refused_ever_ = 0;
  std::unordered_map<host::ClientId, Client> table_;
  std::vector<Client> closed_;  // to be destroyed
  loop::Deferred destroying_;
};

}  // namespace tpmspace::daemon
