// The handlers of control requests: a connection's own affairs, reports, and administrators' orders.
//
// Idea: a handler does what one message asks for. Whether the client may ask is decided before (request_table.h), and
// the audit record is written afterwards (dispatcher.h), from the handler's note.
// Threads: belongs to the event loop. Limits: one token for each connection; for Order and Reload see TpmHost and
// Rereading. Errors: a code with our layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "daemon/clients.h"
#include "daemon/reload.h"
#include "daemon/reports.h"
#include "daemon/rights.h"
#include "daemon/shared_tokens.h"
#include "host/chips.h"
#include "log/log.h"
#include "loop/listeners.h"

namespace tpmspace::daemon {

// The handler's part of an audit record.
struct AuditNote {
  std::string reason = {};  // a sentence without its full stop; empty: there is nothing to record
  std::optional<wire::Rc> code = {};
  std::optional<std::uint32_t> handle = {};
};

struct Handled {
  std::optional<proto::Reply> reply = {};  // nullopt: later, unless refused
  std::optional<wire::Rc> refused = {};    // in place of a reply; kNotAllowed is audited as a refusal
  AuditNote note = {};
};

class Requests {
 public:
  Requests(log::Log& log, access::AccessControl& access_control, loop::Listeners& listeners, host::Chips& chips,
           const Rights& rights, Clients& clients, Reload& reload, const Reports& reports)
      : log_(log),
        access_control_(access_control),
        listeners_(listeners),
        chips_(chips),
        rights_(rights),
        clients_(clients),
        reload_(reload),
        reports_(reports) {}

  Handled hello(Connection& from, const proto::Hello& request);
  Handled cancel(Connection& from, const proto::Cancel& request);
  Handled locality(Connection& from, const proto::Locality& request);
  Handled status(Connection& from, const proto::StatusRequest& request);
  Handled sessions(Connection& from, const proto::SessionsRequest& request);
  Handled order(Connection& from, const proto::OrderRequest& request);
  Handled narrow(Connection& from, const proto::Narrow& request);
  Handled reload(Connection& from, const proto::Reload& request);
  Handled listeners(Connection& from, const proto::ListenersRequest& request);
  Handled change_listener(Connection& from, const proto::ListenerRequest& request);
  Handled learn(Connection& from, const proto::Learn& request);
  Handled use_chip(Connection& from, const proto::UseChip& request);
  Handled clients(Connection& from, const proto::ClientsRequest& request);
  Handled who(Connection& from, const proto::WhoRequest& request);
  Handled share(Connection& from, const proto::Share& request);
  Handled join(Connection& from, const proto::Join& request);
  Handled sync(Connection& from, const proto::Sync& request);

  // The list that the client asked for with Status or Sessions: the client gets its reply.
  void listed(std::size_t chip, host::ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list);
  // The client's order is over: with the code of a failure, and the number of sessions as in log::sentence_of_end. An
  // empty note: no order is under way.
  [[nodiscard]] static AuditNote end_of_order(Client& client, wire::Rc code, std::optional<std::size_t> sessions);
  // The connection ends.
  void leave(host::ClientId client) { tokens_.forget(client); }

 private:
  std::optional<wire::Rc> ask_for_list(Connection& from, bool only_own);
  [[nodiscard]] tl::expected<std::string, std::string> add_listener(const proto::ListenerEntry& entry);

  log::Log& log_;
  access::AccessControl& access_control_;
  loop::Listeners& listeners_;
  host::Chips& chips_;
  const Rights& rights_;
  Clients& clients_;
  Reload& reload_;
  const Reports& reports_;
  SharedTokens tokens_;
};

}  // namespace tpmspace::daemon
