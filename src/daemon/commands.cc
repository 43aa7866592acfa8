#include "daemon/commands.h"

#include <fmt/core.h>

#include <utility>

#include "daemon/audit_records.h"
#include "daemon/refusal_codes.h"
#include "guard/start_and_exit.h"
#include "log/audit_sentences.h"

namespace tpmspace::daemon {
namespace {

// The line of the rule that gave the profile.
std::optional<int> line_of(const guard::Choice& choice, const guard::Policy& policy) {
  if (choice.rules.empty()) return std::nullopt;
  const int line = policy.rules().at(choice.rules.back()).line;
  return line == 0 ? std::nullopt : std::optional(line);
}

}  // namespace

std::string Commands::name_of(const Connection& client, wire::CommandCode code) const {
  const auto* row = rights_.host_of(client).table().find(code);
  return row == nullptr ? "" : std::string(row->name);
}

std::optional<wire::Rc> Commands::submit(Connection& from, wire::Command command, std::uint8_t locality) {
  const access::Permissions& rights = rights_.of(from);
  const auto verdict = access::AccessControl::judge(from.identity(), command, locality);
  const wire::CommandCode code = command.code();
  Client& client = clients_.of(from);
  ++client.use.commands;
  if (from.learning())
    from.learning()->record(command, locality, verdict.allowed() ? wire::rc::kSuccess : wire::from_manager(verdict.rc));
  if (!verdict.allowed()) return refuse(client, command, verdict);
  // Otherwise the command would run on terms that are no longer valid.
  if (from.identity().limits_pending) return refuse(client, code, kNoPlace, explain::reason_of(kNoPlace));
  std::optional<observe::AuditRecord> change;
  if (command.row().affects_others) change = record_of_change(from, command);
  if (const auto refused = rights_.host_of(from).submit(from.id(), from.identity().holder(), rights.limits,
                                                        std::move(command), locality, from.commands_taken()))
    return refuse(client, code, *refused, explain::reason_of(*refused));
  client.use.submitted = std::chrono::steady_clock::now();
  client.use.command = code;
  client.change = std::move(change);
  return std::nullopt;
}

wire::Rc Commands::refuse(Client& client, wire::CommandCode command, wire::Rc code, std::string_view reason) {
  clients_.note_refusal(client, name_of(*client.connection, command), code, std::string(reason));
  client.use.is_noted = true;
  return code;
}

wire::Rc Commands::refuse(Client& client, const wire::Command& command, const guard::Verdict& verdict) {
  const Connection& from = *client.connection;
  if (const auto answer = guard::answer_of_running_tpm(command, verdict))
    return chips_.answers(from.identity().chip) ? *answer : kNoChip;
  auto record = record_of(observe::AuditEvent::kRefused, from);
  record.command = command.row().name;
  record.code = wire::from_manager(verdict.rc);
  record.reason = guard::sentence(verdict);
  record.rule = line_of(from.identity().permissions->choice, access_control_.policy());
  audit_.write(record);
  return refuse(client, command.code(), *record.code, record.reason);
}

observe::AuditRecord Commands::record_of_change(Connection& from, const wire::Command& command) const {
  const access::Permissions& rights = rights_.of(from);
  auto out = record_of(observe::AuditEvent::kChanged, from);
  out.command = command.row().name;
  out.handle = log::handle_of(command);
  out.rule = line_of(rights.choice, access_control_.policy());
  out.by_administrator = rights.profile().administer;
  return out;
}

void Commands::answered_early(const Connection& from, wire::Rc code) {
  Client& client = clients_.of(from);
  if (!std::exchange(client.use.is_noted, false))
    clients_.note_refusal(client, "", code, std::string(explain::reason_of(code)));
  rights_.host_of(from).answered_early(code);
}

void Commands::answer(host::ClientId client, wire::ByteView response) {
  Client* found = clients_.find(client);
  if (found == nullptr) return;
  // Before delivery: the delivery may submit the next command.
  if (const auto header = wire::read_header(response)) audit_change(*found, header->code);
  found->use.submitted.reset();
  found->connection->deliver(response);
}

void Commands::audit_change(Client& of, std::optional<wire::Rc> code) {
  auto record = std::exchange(of.change, std::nullopt);
  if (!record) return;
  record->code = code;
  if (!code)
    record->reason = "its client left before it was answered: the TPM may have done it";
  else if (*code == kNoChip)
    record->reason = "the TPM did not answer: it may have done it";
  else if (*code != wire::rc::kSuccess)
    record->reason = "it was not done: " + wire::describe(*code);
  audit_.write(*record);
}

void Commands::account(std::size_t chip, const observe::Account& account) {
  if (Client* client = clients_.find(account.connection)) {
    count(*client, account);
    audit_refusals(*client->connection, account);
    if (const auto& learning = client->connection->learning(); learning && account.held)
      learning->record(*account.held);
  }
  for (const auto& session : account.reclaimed) audit_reclaimed(chip, session);
  for (const auto& session : account.let_go) audit_reclaimed(chip, session);
}

void Commands::count(Client& client, const observe::Account& account) {
  client.use.tpm_time += account.tpm_nanoseconds();
  if (account.held) client.use.held = *account.held;
  if (account.client_code == 0 || wire::layer_of(account.rc) != wire::layer_of(wire::kManagerLayer)) return;
  const auto reason = [&] {
    if (account.stopped_for_lockout)
      return explain::sentence_of_lockout(account.stopped_by_own_share, account.lockout_interval);
    if (account.kept_from_pin) return std::string(explain::kKeptFromPin);
    return std::string(observe::is_known_crash(account) ? explain::kKnownCrash : explain::reason_of(account.rc));
  };
  clients_.note_refusal(client, name_of(*client.connection, account.client_code), account.rc, reason());
}

void Commands::audit_refusals(const Connection& of, const observe::Account& account) {
  const auto audit = [&](observe::AuditEvent event, std::string reason) {
    auto record = record_of(event, of);
    record.command = name_of(of, account.client_code);
    record.code = account.rc;
    record.reason = std::move(reason);
    audit_.write(record);
  };
  if (account.stopped_for_lockout)
    audit(observe::AuditEvent::kLockout,
          explain::sentence_of_lockout(account.stopped_by_own_share, account.lockout_interval));
  if (account.kept_from_pin) audit(observe::AuditEvent::kRefused, std::string(explain::kKeptFromPin));
  if (observe::is_known_crash(account)) audit(observe::AuditEvent::kRefused, std::string(explain::kKnownCrash));
  if (!account.saved_by) return;
  const auto& [owner, user, connection] = *account.saved_by;
  audit(observe::AuditEvent::kRefused,
        fmt::format("the session in the file was saved by {}, and no other client can load it",
                    describe({.owner = {owner}, .part = {.user = user, .connection = connection}}, access_control_)));
}

void Commands::audit_reclaimed(std::size_t chip, const observe::Reclaimed& session) {
  using Kind = access::AccessControl::Tenant::Kind;
  observe::AuditRecord record;
  record.event = observe::AuditEvent::kReclaimed;
  record.chip = chips_.name(chip);
  if (session.owner != 0) {
    record.owner = session.owner;
    record.uid = peer::uid_of({.owner = {session.owner}, .part = {.user = session.user, .connection = 0}});
    const auto tenant = access_control_.tenant_of_owner({session.owner});
    if (tenant && tenant->kind == Kind::kNamespace) record.tpm_namespace = tenant->name;
    if (tenant && tenant->kind == Kind::kListener) record.listener = tenant->name;
  }
  record.handle = session.handle;
  const space::Holder waiter{.owner = {session.by.waiter}, .part = {.user = session.by.user, .connection = 0}};
  record.reason = log::sentence_of(session, describe(waiter, access_control_));
  audit_.write(record);
}

}  // namespace tpmspace::daemon
