// What the daemon tells: `tpmspace status`, `clients`, `whoami`, `policy explain --as pid=N`.
//
// Idea: reports use only the event loop's knowledge: no TPM is asked, so a report is made at once even while the TPM
// works for ten seconds. A user sees their own clients, an administrator sees all clients.
// Threads: belongs to the event loop. Limits: a page has proto::kMaxClients clients; texts are cut at proto::kMaxText.
// Errors: a process without a visible connection gives nullopt.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "daemon/clients.h"
#include "daemon/rights.h"
#include "host/chips.h"
#include "log/audit_log.h"
#include "log/log.h"

namespace tpmspace::daemon {

class Reports {
 public:
  // `access`: always the current policy, listeners and chips. `config_file`: the file with the rules.
  Reports(const log::Log& log, const log::AuditLog& audit, config::Limits limits, const guard::Access& access,
          std::string config_file, host::Chips& chips, const Rights& rights, Clients& clients)
      : log_(log),
        audit_(audit),
        limits_(limits),
        access_(access),
        config_file_(std::move(config_file)),
        chips_(chips),
        rights_(rights),
        clients_(clients) {}

  // `list`: the client's own sessions, if the client is no administrator.
  [[nodiscard]] proto::Status status(Connection& from, std::size_t chip, const engine::SessionList* list) const;
  // A page of the clients after that connection.
  [[nodiscard]] proto::Clients page(Connection& from, host::ClientId after) const;
  // Of the connection itself, or of the newest connection of a process.
  [[nodiscard]] std::optional<proto::WhoReport> who(Connection& from, const proto::WhoQuestion& what) const;

 private:
  [[nodiscard]] proto::ClientEntry entry_of(host::ClientId id) const;
  [[nodiscard]] Connection* connection_of_process(Connection& from, std::int32_t pid) const;
  [[nodiscard]] std::vector<std::string> reasons_of(const access::ClientIdentity& identity,
                                                    const access::Permissions& rights) const;
  void judge_words(const Connection& about, const std::vector<std::string>& words, proto::WhoReport& out) const;

  const log::Log& log_;
  const log::AuditLog& audit_;
  const config::Limits limits_;
  const guard::Access& access_;
  const std::string config_file_;
  host::Chips& chips_;
  const Rights& rights_;
  Clients& clients_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace tpmspace::daemon
