#include "daemon/requests.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "daemon/refusal_codes.h"
#include "daemon/version.h"
#include "explain/listener_order.h"
#include "log/audit_sentences.h"
#include "proto/json.h"

namespace tpmspace::daemon {
namespace {

constexpr wire::Rc kNoSuchThing = wire::from_manager(wire::rc::kValue);
constexpr wire::Rc kNoLocality = wire::from_manager(wire::rc::kLocality);

struct OrderOf {
  const access::AccessControl& access_control;

  engine::SessionOrder operator()(const proto::FlushThese& these) const { return engine::TheseSessions{these.handles}; }
  engine::SessionOrder operator()(const proto::FlushAbandoned&) const { return engine::AbandonedSessions{}; }
  engine::SessionOrder operator()(const proto::FlushOwner& owner) const {
    return engine::SessionsOf{access_control.holders_of(owner.uid)};
  }
  engine::SessionOrder operator()(const proto::ReserveThis& one) const {
    return engine::ReserveSession{one.handle, one.reserved};
  }
};

// In the names of proto::Tenant. No namespace has a name in parentheses.
proto::Tenant told(const std::optional<access::AccessControl::Tenant>& tenant) {
  if (!tenant) return {};
  std::string name = tenant->name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~'; }, '?');
  switch (tenant->kind) {
    case access::AccessControl::Tenant::Kind::kListener:
      return {.listener = std::move(name)};
    case access::AccessControl::Tenant::Kind::kUnknown:
      return {.tpm_namespace = "(unknown)"};
    case access::AccessControl::Tenant::Kind::kContainers:
      return {.tpm_namespace = "(containers)"};
    case access::AccessControl::Tenant::Kind::kNamespace:
      break;
  }
  return {.tpm_namespace = std::move(name)};
}

AuditNote note_of_order(const proto::SessionOrder& order, wire::Rc code, std::optional<std::size_t> sessions) {
  AuditNote out{.reason = log::sentence_of_end(log::sentence_of(order), code, sessions),
                .handle = log::handle_of(order)};
  if (code != wire::rc::kSuccess) out.code = code;
  return out;
}

// A request whose only refusal is this code.
Handled reply_unless(std::optional<wire::Rc> refused, proto::Reply reply) {
  if (refused) return {.refused = refused};
  return {.reply = std::move(reply)};
}

}  // namespace

// --- A connection's own affairs

Handled Requests::hello(Connection& /*from*/, const proto::Hello& /*request*/) {
  return {.reply = proto::HelloReply{.version = proto::kProtocolVersion,
                                     .server = std::string(kServerName),
                                     .pid = static_cast<std::uint32_t>(::getpid())}};
}

Handled Requests::sync(Connection& /*from*/, const proto::Sync& request) {
  return {.reply = proto::SyncReply{request.mark}};
}

Handled Requests::cancel(Connection& from, const proto::Cancel& /*request*/) {
  rights_.host_of(from).cancel(from.id());
  return {.reply = proto::CancelReply{}};
}

Handled Requests::locality(Connection& from, const proto::Locality& request) {
  const bool may = rights_.of(from).profile().localities.contains(request.locality);
  return reply_unless(may ? std::nullopt : std::optional(kNoLocality), proto::LocalityReply{});
}

Handled Requests::learn(Connection& from, const proto::Learn& request) {
  if (!explain::may_be_learned_as(request.name)) return {.refused = kNoSuchThing};
  if (from.learning()) return {.reply = proto::LearnReply{from.learning()->report(request.name)}};
  from.learning() = std::make_unique<explain::Learning>();
  return {.reply = proto::LearnReply{}};
}

Handled Requests::narrow(Connection& from, const proto::Narrow& request) {
  access::ClientIdentity& identity = from.identity();
  (void)rights_.of(from);
  const auto before = identity;
  const auto narrowing = access_control_.narrow(identity, request.profile, from.id());
  if (narrowing == access::AccessControl::Narrowing::kNoSuchProfile) return {.refused = kNoSuchThing};
  if (narrowing == access::AccessControl::Narrowing::kTooOften) return {.refused = kNoPlace};
  // Otherwise commands would run with rights that were given up.
  if (!rights_.host_of(from).set_limits(from.id(), identity.limits())) {
    identity = before;
    return {.refused = kNoPlace};
  }
  tokens_.forget(from.id());
  return {.reply = proto::NarrowReply{},
          .note = {.reason = fmt::format("from now on no more than {}", request.profile)}};
}

Handled Requests::share(Connection& from, const proto::Share& request) {
  const bool is_new = tokens_.share(request.token, from.id());
  return reply_unless(is_new ? std::nullopt : std::optional(kNoSuchThing), proto::ShareReply{});
}

Handled Requests::join(Connection& from, const proto::Join& request) {
  const auto shared_by = tokens_.find(request.token);
  const Client* opener = shared_by ? clients_.find(*shared_by) : nullptr;
  if (opener == nullptr) return {.refused = kNoSuchThing};
  access::ClientIdentity& identity = from.identity();
  if (!access_control_.join(identity, opener->connection->identity()))
    return {.refused = kNotAllowed,
            .note = {.reason = fmt::format("it is not to join connection {}: it uses another chip, or is of another "
                                           "namespace or listener, or one of the two was narrowed",
                                           *shared_by)}};
  log_.debug("client {} joins client {}: uid {}, pid {}, profile {}", from.id(), *shared_by, identity.who.uid,
             identity.who.pid.value_or(0), identity.permissions->profile().name);
  return {.refused =
              rights_.host_of(from).inherit(from.id(), identity.holder(), identity.limits(), *shared_by, request.sent)};
}

Handled Requests::use_chip(Connection& from, const proto::UseChip& request) {
  access::ClientIdentity& identity = from.identity();
  if (request.name == identity.who.chip) return {.reply = proto::UseChipReply{}};
  const std::string quoted = proto::json_string(std::string_view(request.name).substr(0, limits::kMaxName));
  const auto before = identity;
  const auto refused = [](wire::Rc code, std::string reason) -> Handled {
    return {.refused = code, .note = {.reason = std::move(reason), .code = code}};
  };
  if (!access_control_.change_chip(identity, request.name))
    return refused(kNoSuchThing, fmt::format("there is no chip {}", quoted));
  if (!chips_.serves(identity.chip)) {
    identity = before;
    return refused(kNoChip, fmt::format("the chip {} is not there", quoted));
  }
  const host::TpmHost& host = rights_.host_of(from);
  from.speak_to(host.table(), host.chip().chip.max_command);
  return {.reply = proto::UseChipReply{}, .note = {.reason = fmt::format("from now on it uses the chip {}", quoted)}};
}

// --- Reports

Handled Requests::clients(Connection& from, const proto::ClientsRequest& request) {
  return {.reply = proto::ClientsReply{reports_.page(from, request.after)}};
}

Handled Requests::who(Connection& from, const proto::WhoRequest& request) {
  auto report = reports_.who(from, request.what);
  if (!report) return {.refused = kNoSuchThing};
  return {.reply = proto::WhoReply{*std::move(report)}};
}

// An ordinary user's own sessions are not counted here: the TPM's thread knows them.
Handled Requests::status(Connection& from, const proto::StatusRequest& /*request*/) {
  if (rights_.administers(from) || ask_for_list(from, true))
    return {.reply = proto::StatusReply{reports_.status(from, from.identity().chip, nullptr)}};
  clients_.of(from).wants_status = true;
  return {};
}

Handled Requests::sessions(Connection& from, const proto::SessionsRequest& /*request*/) {
  const bool only_own = !rights_.administers(from);
  clients_.of(from).tells_tenants = !only_own;
  return {.refused = ask_for_list(from, only_own)};
}

std::optional<wire::Rc> Requests::ask_for_list(Connection& from, bool only_own) {
  return rights_.host_of(from).ask_for_sessions(from.id(), from.identity().holder(), rights_.of(from).limits, only_own);
}

void Requests::listed(std::size_t chip, host::ClientId client,
                      const tl::expected<engine::SessionList, wire::Rc>& list) {
  Client* found = clients_.find(client);
  if (found == nullptr) return;
  Connection& to = *found->connection;
  if (std::exchange(found->wants_status, false))
    return to.reply(proto::StatusReply{reports_.status(to, chip, list ? &*list : nullptr)});
  const auto tenant_of = [&, tells = found->tells_tenants](space::OwnerId owner) {
    return tells ? told(access_control_.tenant_of_owner(owner)) : proto::Tenant{};
  };
  to.reply(reply_or_refusal<proto::SessionsReply>(
      proto::MessageType::kSessions,
      list.map([&](const engine::SessionList& one) { return host::TpmHost::told(one, tenant_of); })));
}

// --- Administrators' orders

Handled Requests::order(Connection& from, const proto::OrderRequest& request) {
  const auto refused = rights_.host_of(from).order(from.id(), std::visit(OrderOf{access_control_}, request.what));
  if (refused) return {.refused = refused, .note = note_of_order(request.what, *refused, 0)};
  clients_.of(from).order = request.what;
  return {};
}

AuditNote Requests::end_of_order(Client& client, wire::Rc code, std::optional<std::size_t> sessions) {
  const auto order = std::exchange(client.order, std::nullopt);
  return order ? note_of_order(*order, code, sessions) : AuditNote{};
}

Handled Requests::reload(Connection& from, const proto::Reload& /*request*/) {
  reload_.ask(from.id());
  return {};
}

Handled Requests::listeners(Connection& /*from*/, const proto::ListenersRequest& /*request*/) {
  auto out = listeners_.list();
  for (auto& listener : out) listener.chip_lost = !chips_.answers(listener.chip);
  return {.reply = proto::ListenersReply{std::move(out)}};
}

Handled Requests::change_listener(Connection& /*from*/, const proto::ListenerRequest& request) {
  proto::Outcome out;
  if (const auto* entry = std::get_if<proto::ListenerEntry>(&request.what)) {
    const auto added = add_listener(*entry);
    out = {.done = added.has_value(), .sentence = added ? *added : added.error()};
  } else {
    const std::string& name = std::get<proto::RemoveListener>(request.what).name;
    const bool removed = listeners_.remove(name);
    out = {.done = removed,
           .sentence = removed ? fmt::format("the listener \"{}\" is gone", name)
                               : fmt::format("there is no listener \"{}\" that could be taken away", name)};
  }
  AuditNote note{.reason = out.sentence};
  if (!out.done) note.code = kNoSuchThing;
  return {.reply = proto::ListenerReply{std::move(out)}, .note = std::move(note)};
}

tl::expected<std::string, std::string> Requests::add_listener(const proto::ListenerEntry& entry) {
  const guard::Policy& policy = access_control_.policy();
  const auto listener = explain::listener_of(entry, policy, listeners_.main_path());
  if (!listener) return tl::make_unexpected(listener.error());
  if (!entry.chip.empty() && !chips_.has(entry.chip))
    return tl::make_unexpected(fmt::format("there is no chip \"{}\"; there are: {}", entry.chip, chips_.names(", ")));
  return listeners_.add(*listener, true).map([&] { return explain::description_of(entry, *listener, policy); });
}

}  // namespace tpmspace::daemon
