#include "daemon/dispatcher.h"

#include <utility>

#include "daemon/audit_records.h"
#include "daemon/refusal_codes.h"

namespace tpmspace::daemon {

Asker Dispatcher::asker_of(Connection& from, const RequestRow& row) const {
  // Permissions are renewed only for a decision: an identity may still be incomplete.
  const bool administers = row.who != WhoMay::kEveryone && rights_.administers(from);
  const access::ClientIdentity& identity = from.identity();
  return {.is_narrowed = identity.narrowed != nullptr,
          .is_guest = identity.is_guest(),
          .administers = administers,
          .chip = chips_.name(identity.chip)};
}

std::optional<proto::Reply> Dispatcher::handle(Connection& from, const proto::Request& request) {
  const std::uint32_t type = proto::type_of(request);
  const RequestRow& row = request_row(static_cast<proto::MessageType>(type));
  if (auto reason = reason_to_refuse(row, asker_of(from, row), request)) {
    refuse(from, *std::move(reason));
    return refusal_of_request(type, kNotAllowed);
  }
  Handled handled = row.handle(requests_, from, request);
  if (handled.refused == kNotAllowed)
    refuse(from, std::move(handled.note.reason));
  else
    audit(row, from, handled.note);
  if (handled.refused) return refusal_of_request(type, *handled.refused);
  return std::move(handled.reply);
}

void Dispatcher::refuse(const Connection& from, std::string reason) {
  auto record = record_of(observe::AuditEvent::kRefused, from);
  record.code = kNotAllowed;
  record.reason = std::move(reason);
  audit_.write(record);
  clients_.note_refusal(clients_.of(from), std::string(explain::kOrder), kNotAllowed, std::move(record.reason));
}

void Dispatcher::audit(const RequestRow& row, const Connection& from, const AuditNote& note) {
  if (!row.audited || note.reason.empty()) return;
  auto record = record_of(*row.audited, from);
  record.code = note.code;
  record.handle = note.handle;
  record.reason = note.reason;
  audit_.write(record);
}

void Dispatcher::order_done(host::ClientId client,
                            const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions) {
  Client* found = clients_.find(client);
  if (found == nullptr) return;
  Connection& to = *found->connection;
  audit(request_row(proto::MessageType::kOrder), to,
        Requests::end_of_order(*found, sessions ? wire::rc::kSuccess : sessions.error(),
                               sessions ? sessions->size() : 0));
  to.reply(reply_or_refusal<proto::OrderReply>(proto::MessageType::kOrder, sessions));
}

void Dispatcher::reloaded(const proto::Outcome& outcome, const std::vector<host::ClientId>& for_whom) {
  const auto event = request_row(proto::MessageType::kReload).audited;
  observe::AuditRecord record;
  record.event = event.value_or(observe::AuditEvent::kPolicy);
  for (const host::ClientId client : for_whom)
    if (const Client* found = clients_.find(client)) record = record_of(record.event, *found->connection);
  record.reason = outcome.sentence;
  audit_.write(record);
  for (const host::ClientId client : for_whom)
    if (Client* found = clients_.find(client)) found->connection->reply(proto::ReloadReply{outcome});
}

void Dispatcher::cut_off(Connection& from, const std::string& why) {
  if (const auto held_back = cut_off_lines_.allow(log::RateLimit::Clock::now()))
    log_.info("the connection of uid {}, pid {} is closed, because it {}{}", from.identity().who.uid,
              from.identity().who.pid.value_or(0), why, log::held_back_text(*held_back));
}

void Dispatcher::over(Connection& from) {
  Client* client = clients_.find(from.id());
  if (client == nullptr) return;
  audit(request_row(proto::MessageType::kOrder), from,
        Requests::end_of_order(*client, wire::rc::kSuccess, std::nullopt));
  commands_.leave(*client);
  log_.debug("client {} has left", from.id());
  chips_.close(from.id());
  requests_.leave(from.id());
  clients_.remove(from.id());
}

}  // namespace tpmspace::daemon
