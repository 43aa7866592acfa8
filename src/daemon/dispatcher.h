// The way of a connection's requests: the row decides, the handler acts, and the record is written.
//
// Idea: the only place where a control request is refused or audited. TPM commands go to `Commands`. Replies that come
// later (Order, Reload) come back here, so their records are written by the same row.
// Threads: belongs to the event loop. Errors: codes with our layer.
#pragma once

#include <string>
#include <vector>

#include "daemon/clients.h"
#include "daemon/commands.h"
#include "daemon/request_table.h"
#include "daemon/requests.h"
#include "daemon/rights.h"
#include "host/chips.h"
#include "log/audit_log.h"
#include "log/log.h"

namespace tpmspace::daemon {

class Dispatcher final : public Connection::Host {
 public:
  Dispatcher(log::Log& log, log::AuditLog& audit, host::Chips& chips, const Rights& rights, Clients& clients,
             Commands& commands, Requests& requests)
      : log_(log),
        audit_(audit),
        chips_(chips),
        rights_(rights),
        clients_(clients),
        commands_(commands),
        requests_(requests) {}

  std::optional<wire::Rc> submit(Connection& from, wire::Command command, std::uint8_t locality) override {
    return commands_.submit(from, std::move(command), locality);
  }
  std::optional<proto::Reply> handle(Connection& from, const proto::Request& request) override;
  void answered_early(Connection& from, wire::Rc code) override { commands_.answered_early(from, code); }
  void cut_off(Connection& from, const std::string& why) override;
  void over(Connection& from) override;

  // The end of the client's order about sessions.
  void order_done(host::ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions);
  // The end of a reload, for the clients that asked for it; 0 is a signal.
  void reloaded(const proto::Outcome& outcome, const std::vector<host::ClientId>& for_whom);

 private:
  [[nodiscard]] Asker asker_of(Connection& from, const RequestRow& row) const;
  void refuse(const Connection& from, std::string reason);
  void audit(const RequestRow& row, const Connection& from, const AuditNote& note);

  log::Log& log_;
  log::AuditLog& audit_;
  host::Chips& chips_;
  const Rights& rights_;
  Clients& clients_;
  Commands& commands_;
  Requests& requests_;
  log::RateLimit cut_off_lines_;
};

}  // namespace tpmspace::daemon
