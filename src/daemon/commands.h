// The TPM commands of connections: judged, submitted to a TPM, answered, accounted, and audited.
//
// Idea: a command passes here on its way to the TPM and on its way back. A command that the permissions refuse is
// answered here, with our layer. A command that affects all users leaves an audit record when its response is there, or
// when its client has left. The accounts of steps say what the levels below refused or reclaimed.
// Threads: belongs to the event loop. Limits: one command of a connection at a time.
// Errors: response codes with our layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "daemon/clients.h"
#include "daemon/rights.h"
#include "host/chips.h"
#include "log/audit_log.h"

namespace tpmspace::daemon {

class Commands {
 public:
  Commands(access::AccessControl& access_control, host::Chips& chips, const Rights& rights, Clients& clients,
           log::AuditLog& audit)
      : access_control_(access_control), chips_(chips), rights_(rights), clients_(clients), audit_(audit) {}

  // Takes the command; the response will be delivered. Or returns the response code.
  [[nodiscard]] std::optional<wire::Rc> submit(Connection& from, wire::Command command, std::uint8_t locality);
  // The connection answered a command without this class, or with a code from `submit`.
  void answered_early(const Connection& from, wire::Rc code);
  // The response to the client's command, from the TPM's host.
  void answer(host::ClientId client, wire::ByteView response);
  // The account of a step at that TPM.
  void account(std::size_t chip, const observe::Account& account);
  // The client leaves before the response.
  void leave(Client& client) { audit_change(client, std::nullopt); }

 private:
  // "TPM2_Sign", by the client's TPM; empty: the TPM has no such command.
  [[nodiscard]] std::string name_of(const Connection& client, wire::CommandCode code) const;
  // Notes the refusal. Returns the code.
  wire::Rc refuse(Client& client, wire::CommandCode command, wire::Rc code, std::string_view reason);
  // The permissions do not allow the command.
  wire::Rc refuse(Client& client, const wire::Command& command, const guard::Verdict& verdict);
  // The record of a command that affects all users, before the command is sent.
  [[nodiscard]] observe::AuditRecord record_of_change(Connection& from, const wire::Command& command) const;
  // Records the response to a command that affects all users; nullopt: the client left before the response.
  void audit_change(Client& of, std::optional<wire::Rc> code);
  void count(Client& client, const observe::Account& account);
  // Records what the levels below refused, with a sentence.
  void audit_refusals(const Connection& of, const observe::Account& account);
  // A session was reclaimed at that TPM.
  void audit_reclaimed(std::size_t chip, const observe::Reclaimed& session);

  access::AccessControl& access_control_;
  host::Chips& chips_;
  const Rights& rights_;
  Clients& clients_;
  log::AuditLog& audit_;
};

}  // namespace tpmspace::daemon
