// Connections' requests to the daemon: commands, which are judged first; their own affairs; an administrator's orders.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "config/listener_paths.h"
#include "config/names.h"
#include "config/number_list.h"
#include "daemon/refusal_codes.h"
#include "daemon/server.h"
#include "daemon/version.h"
#include "explain/listener_locality.h"
#include "guard/shipped.h"
#include "guard/start_and_exit.h"
#include "log/audit_sentences.h"
#include "proto/json.h"
#include "proto/listener_text.h"
#include "proto/overloaded.h"

namespace tpmspace::daemon {
namespace {

constexpr wire::Rc kNoSuchProfile = wire::from_manager(wire::rc::kValue), kNoName = kNoSuchProfile,
                   kNoSuchToken = kNoSuchProfile, kNoLocality = wire::from_manager(wire::rc::kLocality);

// The line of the rule that gave the profile.
std::optional<int> line_of(const guard::Choice& choice, const guard::Policy& policy) {
  if (choice.rules.empty()) return std::nullopt;
  const int line = policy.rules().at(choice.rules.back()).line;
  return line == 0 ? std::nullopt : std::optional(line);
}

struct OrderOf {
  const AccessControl& access_control;

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
proto::Tenant told(const std::optional<AccessControl::Tenant>& tenant) {
  if (!tenant) return {};
  std::string name = tenant->name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~'; }, '?');
  switch (tenant->kind) {
    case AccessControl::Tenant::Kind::kListener:
      return {.listener = std::move(name)};
    case AccessControl::Tenant::Kind::kUnknown:
      return {.tpm_namespace = "(unknown)"};
    case AccessControl::Tenant::Kind::kContainers:
      return {.tpm_namespace = "(containers)"};
    case AccessControl::Tenant::Kind::kNamespace:
      break;
  }
  return {.tpm_namespace = std::move(name)};
}
engine::SessionOrder order_of(const proto::SessionOrder& what, const AccessControl& access_control) {
  return std::visit(OrderOf{access_control}, what);
}

}  // namespace

observe::AuditRecord Server::record_of(observe::AuditEvent event, const Connection& from) {
  const ClientIdentity& identity = from.identity();
  observe::AuditRecord out;
  out.event = event;
  out.owner = identity.owner.value;
  out.uid = identity.who.uid;
  out.pid = identity.who.pid;
  out.executable = identity.who.executable.value();
  out.cgroup = identity.who.cgroup.value();
  out.tpm_namespace = identity.who.tpm_namespace.value();
  out.in_doubt = identity.permissions->choice.in_doubt;
  out.listener = identity.entrance.listener;
  out.chip = identity.who.chip.value_or("");
  out.connection = from.id();
  out.profile = identity.permissions->profile().name;
  return out;
}

// --- A connection's own affairs

const Permissions& Server::rights_of(Connection& from) {
  ClientIdentity& identity = from.identity();
  access_control_.read_program(identity);
  if (access_control_.renew(identity)) identity.limits_pending = true;
  if (identity.limits_pending) identity.limits_pending = !host_of(from).set_limits(from.id(), identity.limits());
  return *identity.permissions;
}

std::optional<wire::Rc> Server::submit(Connection& from, wire::Command command, std::uint8_t locality) {
  const Permissions& rights = rights_of(from);
  const auto verdict = AccessControl::judge(from.identity(), command, locality);
  const wire::CommandCode code = command.code();
  Client& client = clients_.at(from.id());
  ++client.use.commands;
  const auto refuse_for = [&](wire::Rc refusal, std::string_view reason) {
    note_refusal(client, name_of(from, code), refusal, std::string(reason));
    client.use.is_noted = true;
    return refusal;
  };
  if (from.learning())
    from.learning()->record(command, locality, verdict.allowed() ? wire::rc::kSuccess : wire::from_manager(verdict.rc));
  if (!verdict.allowed()) {
    if (const auto answer = guard::answer_of_running_tpm(command, verdict))
      return chips_.answers(from.identity().chip) ? *answer : kNoChip;
    auto record = record_of(observe::AuditEvent::kRefused, from);
    record.command = command.row().name;
    record.code = wire::from_manager(verdict.rc);
    record.reason = guard::sentence(verdict);
    record.rule = line_of(rights.choice, access_control_.policy());
    audit_.write(record);
    return refuse_for(*record.code, record.reason);
  }
  if (from.identity().limits_pending)
    return refuse_for(kNoPlace, explain::reason_of(kNoPlace));  // the command would run on terms that are no longer
                                                                // valid
  std::optional<observe::AuditRecord> change;
  if (command.row().affects_others) change = record_of_change(from, command);
  if (const auto refused = host_of(from).submit(from.id(), from.identity().holder(), rights.limits, std::move(command),
                                                locality, from.commands_taken()))
    return refuse_for(*refused, explain::reason_of(*refused));
  client.use.submitted = std::chrono::steady_clock::now();
  client.use.command = code;
  client.change = std::move(change);
  return std::nullopt;
}

observe::AuditRecord Server::record_of_change(Connection& from, const wire::Command& command) {
  const Permissions& rights = rights_of(from);
  auto out = record_of(observe::AuditEvent::kChanged, from);
  out.command = command.row().name;
  out.handle = log::handle_of(command);
  out.rule = line_of(rights.choice, access_control_.policy());
  out.by_administrator = rights.profile().administer;
  return out;
}

std::optional<proto::Reply> Server::handle(Connection& from, const proto::Request& request) {
  using Answer = std::optional<proto::Reply>;
  using Type = proto::MessageType;
  const auto done = [&](const std::optional<wire::Rc>& refused, const Answer& reply) {
    return refused ? Answer(refusal_of_request(proto::type_of(request), *refused)) : reply;
  };
  return std::visit(
      proto::Overloaded{
          [&](const proto::Hello&) -> Answer { return hello(); },
          [&](const proto::Cancel&) -> Answer {
            host_of(from).cancel(from.id());
            return proto::CancelReply{};
          },
          [&](const proto::Locality& wanted) {
            return done(may_have_locality(from, wanted.locality) ? std::nullopt : std::optional(kNoLocality),
                        proto::LocalityReply{});
          },
          [&](const proto::StatusRequest&) -> Answer {
            if (auto now = status(from)) return proto::StatusReply{*std::move(now)};
            return std::nullopt;
          },
          [&](const proto::SessionsRequest&) { return done(ask_for_sessions(from), std::nullopt); },
          [&](const proto::OrderRequest& wanted) { return done(order(from, wanted.what), std::nullopt); },
          [&](const proto::Narrow& wanted) { return done(narrow(from, wanted.profile), proto::NarrowReply{}); },
          [&](const proto::Reload&) { return done(reload(from), std::nullopt); },
          [&](const proto::ListenersRequest&) -> Answer {
            return reply_or_refusal<proto::ListenersReply>(Type::kListeners, listeners(from));
          },
          [&](const proto::ListenerRequest& wanted) -> Answer {
            return reply_or_refusal<proto::ListenerReply>(Type::kListener, change_listener(from, wanted.what));
          },
          [&](const proto::Learn& wanted) -> Answer {
            return reply_or_refusal<proto::LearnReply>(Type::kLearn, learn(from, wanted.name));
          },
          [&](const proto::UseChip& wanted) { return done(use_chip(from, wanted.name), proto::UseChipReply{}); },
          [&](const proto::ClientsRequest& wanted) -> Answer {
            return reply_or_refusal<proto::ClientsReply>(Type::kClients, clients(from, wanted.after));
          },
          [&](const proto::WhoRequest& wanted) -> Answer {
            return reply_or_refusal<proto::WhoReply>(Type::kWho, who(from, wanted.what));
          },
          [&](const proto::Share& wanted) { return done(share(from, wanted.token), proto::ShareReply{}); },
          [&](const proto::Join& wanted) { return done(join(from, wanted), std::nullopt); },
          [&](const proto::Sync& sync) -> Answer { return proto::SyncReply{sync.mark}; },
      },
      request);
}

proto::HelloReply Server::hello() {
  return {.version = proto::kProtocolVersion,
          .server = std::string(kServerName),
          .pid = static_cast<std::uint32_t>(::getpid())};
}

bool Server::may_have_locality(Connection& from, std::uint8_t locality) {
  return rights_of(from).profile().localities.contains(locality);
}

std::optional<wire::Rc> Server::narrow(Connection& from, const std::string& profile) {
  ClientIdentity& identity = from.identity();
  (void)rights_of(from);
  const auto before = identity;
  const auto narrowing = access_control_.narrow(identity, profile, from.id());
  if (narrowing == AccessControl::Narrowing::kNoSuchProfile) return kNoSuchProfile;
  if (narrowing == AccessControl::Narrowing::kTooOften) return kNoPlace;
  // Otherwise commands would run with rights that were given up.
  if (!host_of(from).set_limits(from.id(), identity.limits())) {
    identity = before;
    return kNoPlace;
  }
  tokens_.forget(from.id());
  auto record = record_of(observe::AuditEvent::kNarrowed, from);
  record.reason = fmt::format("from now on no more than {}", profile);
  audit_.write(record);
  return std::nullopt;
}

std::optional<wire::Rc> Server::share(Connection& from, const proto::Token& token) {
  if (from.identity().narrowed) return kNotAllowed;
  return tokens_.share(token, from.id()) ? std::nullopt : std::optional(kNoSuchToken);
}

std::optional<wire::Rc> Server::join(Connection& from, const proto::Join& what) {
  const auto shared_by = tokens_.find(what.token);
  const auto opener = shared_by ? clients_.find(*shared_by) : clients_.end();
  if (opener == clients_.end()) return kNoSuchToken;
  ClientIdentity& identity = from.identity();
  if (!access_control_.join(identity, opener->second.connection->identity()))
    return refuse(from, fmt::format("it is not to join connection {}: it uses another chip, or is of another namespace "
                                    "or listener, or one of the two was narrowed",
                                    *shared_by));
  log_.debug("client {} joins client {}: uid {}, pid {}, profile {}", from.id(), *shared_by, identity.who.uid,
             identity.who.pid.value_or(0), identity.permissions->profile().name);
  return host_of(from).inherit(from.id(), identity.holder(), identity.limits(), *shared_by, what.sent);
}

std::optional<wire::Rc> Server::use_chip(Connection& from, const std::string& name) {
  ClientIdentity& identity = from.identity();
  if (name == identity.who.chip) return std::nullopt;
  const std::string quoted = proto::json_string(std::string_view(name).substr(0, limits::kMaxName));
  if (!is_administrator(from)) return refuse(from, "only an administrator chooses a chip, and it asked for " + quoted);
  const auto before = identity;
  std::optional<wire::Rc> refused;
  std::string reason = fmt::format("from now on it uses the chip {}", quoted);
  if (!access_control_.change_chip(identity, name)) {
    refused = kNoName;
    reason = fmt::format("there is no chip {}", quoted);
  } else if (!chips_.serves(identity.chip)) {
    identity = before;
    refused = kNoChip;
    reason = fmt::format("the chip {} is not there", quoted);
  } else {
    const host::TpmHost& host = host_of(from);
    from.speak_to(host.table(), host.chip().chip.max_command);
  }
  auto record = record_of(observe::AuditEvent::kChip, from);
  record.code = refused;
  record.reason = std::move(reason);
  audit_.write(record);
  return refused;
}

wire::Rc Server::refuse(const Connection& from, std::string reason) {
  auto record = record_of(observe::AuditEvent::kRefused, from);
  record.code = kNotAllowed;
  record.reason = std::move(reason);
  audit_.write(record);
  note_refusal(clients_.at(from.id()), std::string(explain::kOrder), kNotAllowed, record.reason);
  return kNotAllowed;
}

// An ordinary user's own sessions are not counted here: the TPM's thread knows them.
std::optional<proto::Status> Server::status(Connection& from) {
  if (is_administrator(from) || ask_host_for_sessions(from, true)) return status_of(from, host_of(from), nullptr);
  clients_.at(from.id()).wants_status = true;
  return std::nullopt;
}

void Server::on_listed(std::size_t chip, host::ClientId client,
                       const tl::expected<engine::SessionList, wire::Rc>& list) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  Connection& to = *found->second.connection;
  if (std::exchange(found->second.wants_status, false))
    return to.reply(proto::StatusReply{status_of(to, chips_.host(chip), list ? &*list : nullptr)});
  const auto tenant_of = [&, tells = found->second.tells_tenants](space::OwnerId owner) {
    return tells ? told(access_control_.tenant_of_owner(owner)) : proto::Tenant{};
  };
  to.reply(reply_or_refusal<proto::SessionsReply>(
      proto::MessageType::kSessions,
      list.map([&](const engine::SessionList& one) { return host::TpmHost::told(one, tenant_of); })));
}

proto::Status Server::status_of(Connection& from, host::TpmHost& host, const engine::SessionList* list) {
  proto::Status out;
  const bool whole = is_administrator(from);
  space::Holder asks = from.identity().holder();
  if (from.identity().is_guest()) asks.part.connection = from.id();
  if (whole)
    host.fill(out);
  else
    host.fill_for(asks, list, out);
  out.server_version = kServerName;
  out.tpm_chip = chips_.name(from.identity().chip);
  if (whole) out.tpm_all_chips = chips_.names(" ");
  if (whole) out.tpm_lost_chips = chips_.names_of_lost(" ");
  out.server_pid = static_cast<std::uint64_t>(::getpid());
  out.server_uptime = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - started_).count());
  out.limits_connections = limits_.connections;
  out.limits_objects_per_space = limits_.objects;
  out.limits_sessions_per_space = limits_.sessions;
  out.limits_bytes = limits_.bytes;
  out.connections_now = whole                        ? places_.total()
                        : from.identity().is_guest() ? 1
                                                     : places_.total_of(from.identity().owner);
  out.connections_ever = whole ? last_client_ : 0;
  out.connections_refused = whole ? refused_ever_ : 0;
  out.log_lost = whole ? log_.lost() : 0;
  out.audit_lost = whole ? audit_.lost() : 0;
  out.audit_held_back = whole ? audit_.held_back() : audit_.held_back_of(from.identity().owner.value);
  if (whole) out.audit_most_held_back = audit_.most_held_back();
  return out;
}

std::optional<wire::Rc> Server::ask_for_sessions(Connection& from) {
  const bool only_own = !is_administrator(from);
  // The sessions of a guest's owner are not its own.
  if (only_own && from.identity().is_guest()) return kNotAllowed;
  clients_.at(from.id()).tells_tenants = !only_own;
  return ask_host_for_sessions(from, only_own);
}

std::optional<wire::Rc> Server::ask_host_for_sessions(Connection& from, bool only_own) {
  return host_of(from).ask_for_sessions(from.id(), from.identity().holder(), rights_of(from).limits, only_own);
}

std::optional<wire::Rc> Server::order(Connection& from, const proto::SessionOrder& what) {
  if (!is_administrator(from)) return refuse(from, "only an administrator orders a " + log::sentence_of(what));
  const auto refused = host_of(from).order(from.id(), order_of(what, access_control_));
  clients_.at(from.id()).order = what;
  if (refused) audit_order(from, *refused, 0);
  return refused;
}

// --- Policy and listeners

std::optional<wire::Rc> Server::reload(Connection& from) {
  if (!is_administrator(from)) return refuse(from, "only an administrator has the configuration read again");
  rereading_.ask(from.id());
  return std::nullopt;
}

void Server::on_read_again(Rereading::Result read, const std::vector<host::ClientId>& for_whom) {
  if (stopping_) return;
  observe::AuditRecord record;
  for (const host::ClientId client : for_whom)
    if (const auto found = clients_.find(client); found != clients_.end())
      record = record_of(observe::AuditEvent::kPolicy, *found->second.connection);
  record.event = observe::AuditEvent::kPolicy;
  read = std::move(read).and_then([this](Rereading::Read all) -> Rereading::Result {
    if (auto fault = not_served(all.access)) return tl::unexpected(*std::move(fault));
    return all;
  });
  proto::Outcome out{.done = read.has_value(), .sentence = {}};
  if (read) {
    access_ = std::move(read->access);
    access_control_.set_policy(std::make_shared<const guard::Policy>(access_.policy), std::move(read->subordinates));
    const auto troubles = listeners_.replace(access_.listeners);
    out.sentence =
        read->has_file
            ? "the configuration was read again; profiles, rules, namespaces and listeners are as it says now"
            : fmt::format(
                  "the configuration was read again: there is no file {}, so there are no rules, "
                  "namespaces, listeners and profiles but the standard ones",
                  config_file_);
    for (const auto& trouble : troubles) out.sentence += "; but " + trouble;
    out.done = troubles.empty();
    if (!read->pending.empty())
      out.sentence += "; these keys take effect when tpmspaced is restarted: " + config::text_of(read->pending);
  } else {
    out.sentence = "nothing was changed: " + read.error();
    log_.error("{}", out.sentence);
  }
  record.reason = out.sentence;
  audit_.write(record);
  for (const host::ClientId client : for_whom)
    if (const auto found = clients_.find(client); found != clients_.end())
      found->second.connection->reply(proto::ReloadReply{out});
}

std::optional<std::string> Server::not_served(const guard::Access& access) const {
  const auto is_served = [&](const std::string& name) {
    return std::any_of(access.chips.begin(), access.chips.end(),
                       [&](const guard::Chip& one) { return one.name == name && chips_.serves_as(one); });
  };
  const auto sentence = [&](std::string_view what, const std::string& name, const std::optional<std::string>& chip) {
    return !chip || is_served(*chip)
               ? std::nullopt
               : std::optional(
                     fmt::format("the {} \"{}\" has the chip \"{}\", which is served as the configuration says "
                                 "from the next start on: restart tpmspaced",
                                 what, name, *chip));
  };
  for (const guard::Listener& listener : access.listeners)
    if (auto fault = sentence("listener", listener.name, listener.chip)) return fault;
  for (const auto& one : access.policy.namespaces())
    if (auto fault = sentence("namespace", one.name, one.chip)) return fault;
  return std::nullopt;
}

tl::expected<std::vector<proto::ListenerEntry>, wire::Rc> Server::listeners(Connection& from) {
  if (!is_administrator(from)) return tl::make_unexpected(kNotAllowed);
  auto out = listeners_.list();
  for (auto& listener : out) listener.chip_lost = !chips_.answers(listener.chip);
  return out;
}

tl::expected<proto::Outcome, wire::Rc> Server::change_listener(Connection& from, const proto::ListenerOrder& what) {
  if (!is_administrator(from))
    return tl::make_unexpected(refuse(from, "only an administrator makes or removes listeners"));
  auto record = record_of(observe::AuditEvent::kListener, from);
  proto::Outcome out;
  if (const auto* entry = std::get_if<proto::ListenerEntry>(&what)) {
    const auto added = add_listener(*entry);
    out = {.done = added.has_value(), .sentence = added ? describe(*entry) : added.error()};
  } else {
    const std::string& name = std::get<proto::RemoveListener>(what).name;
    const bool removed = listeners_.remove(name);
    out = {.done = removed,
           .sentence = removed ? fmt::format("the listener \"{}\" is gone", name)
                               : fmt::format("there is no listener \"{}\" that could be taken away", name)};
  }
  record.reason = out.sentence;
  if (!out.done) record.code = wire::from_manager(wire::rc::kValue);
  audit_.write(record);
  return out;
}

std::string Server::describe(const proto::ListenerEntry& made) const {
  constexpr std::uint32_t kForAll = 02;
  std::string out = fmt::format("the listener \"{}\" is at {}, {}", made.name, path_of(made), proto::described(made));
  const guard::Profile* profile = access_control_.policy().profile(made.profile);
  if ((made.mode & kForAll) != 0 && profile != nullptr && guard::exceeds_safe(*profile))
    out += "; everybody may open it, and gets more than \"safe\" allows: set owner, group or mode";
  guard::Listener listener;
  listener.name = made.name;
  listener.locality = made.locality;
  if (!made.profile.empty()) listener.profile = made.profile;
  const auto profile_of = [&](const std::string& name) -> const guard::Profile& {
    return *access_control_.policy().profile(name);
  };
  const guard::Policy& policy = access_control_.policy();
  if (const auto trouble = explain::trouble_with_locality(listener, policy.rules(), policy.namespaces(), profile_of))
    out += "; warning: " + *trouble;
  return out;
}

std::string Server::path_of(const proto::ListenerEntry& entry) const {
  return entry.path.empty() ? config::default_listener_path(listeners_.main_path(), entry.name) : entry.path;
}

tl::expected<void, std::string> Server::add_listener(const proto::ListenerEntry& entry) {
  const auto fault = [](std::string sentence) { return tl::make_unexpected(std::move(sentence)); };
  if (!config::is_name(entry.name)) return fault("a listener's name has " + config::name_rule());
  if (guard::is_reserved_listener(entry.name))
    return fault(fmt::format("\"{}\" is the name of a listener of tpmspaced's own; take another one", entry.name));
  if (entry.path.empty() && !config::is_directory_name(entry.name))
    return fault(fmt::format("\"{}\" cannot be the name of a directory; take another one", entry.name));
  if (!entry.path.empty() && entry.path[0] != '/') return fault("a listener's path begins with a slash");
  const guard::Profile* profile = access_control_.policy().profile(entry.profile);
  if (!entry.profile.empty() && profile == nullptr)
    return fault(fmt::format("there is no profile \"{}\"", entry.profile));
  if (entry.locality && !config::is_possible(config::kLocalities, {*entry.locality, *entry.locality}))
    return fault(fmt::format("{} is no locality: localities are 0 to 4 and 32 to 255", *entry.locality));
  if (entry.locality && profile != nullptr && !profile->localities.contains(*entry.locality))
    return fault(fmt::format("the profile \"{}\" does not list locality {}: its clients would be refused everything",
                             entry.profile, *entry.locality));
  if (!entry.chip.empty() && !chips_.has(entry.chip))
    return fault(fmt::format("there is no chip \"{}\"; there are: {}", entry.chip, chips_.names(", ")));
  if (entry.separate_users && entry.profile.empty())
    return fault(
        "separate users are for a listener with a profile: without one each user is the same owner as on the main "
        "listener");
  const auto id = [](std::uint32_t value) { return value == proto::kKeep ? std::nullopt : std::optional(value); };
  guard::Listener listener;
  listener.name = entry.name;
  listener.default_path = entry.path.empty();
  listener.path = path_of(entry);
  listener.mode = static_cast<mode_t>(entry.mode & 0777U);
  listener.owner = id(entry.uid);
  listener.group = id(entry.gid);
  if (!entry.profile.empty()) listener.profile = entry.profile;
  listener.locality = entry.locality;
  listener.connections = entry.limit;
  if (!entry.chip.empty()) listener.chip = entry.chip;
  listener.separate_users = entry.separate_users;
  return listeners_.add(listener, true);
}

tl::expected<std::string, wire::Rc> Server::learn(Connection& from, const std::string& name) {
  if (!explain::may_be_learned_as(name)) return tl::make_unexpected(kNoName);
  if (from.learning()) return from.learning()->report(name);
  from.learning() = std::make_unique<explain::Learning>();
  return "";
}

}  // namespace tpmspace::daemon
