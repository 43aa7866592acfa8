// What connections ask of the daemon: commands, which are judged first; their own affairs; an administrator's orders.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "daemon/audit_sentences.h"
#include "daemon/names.h"
#include "daemon/number_list.h"
#include "daemon/policy_warnings.h"
#include "daemon/refusal_codes.h"
#include "daemon/server.h"
#include "daemon/version.h"
#include "guard/shipped.h"
#include "guard/start_and_exit.h"
#include "proto/door_text.h"
#include "proto/json.h"

namespace tpmspace::daemon {
namespace {

constexpr wire::Rc kNoSuchProfile = wire::from_manager(wire::rc::kValue), kNoName = kNoSuchProfile,
                   kNoSuchToken = kNoSuchProfile;

// Where the rule that gave the profile was written.
std::optional<int> line_of(const guard::Choice& choice, const guard::Policy& policy) {
  if (choice.rules.empty()) return std::nullopt;
  const int line = policy.rules().at(choice.rules.back()).line;
  return line == 0 ? std::nullopt : std::optional(line);
}

struct OrderOf {
  const Gatekeeper& gatekeeper;

  engine::SessionOrder operator()(const proto::FlushThese& these) const { return engine::TheseSessions{these.handles}; }
  engine::SessionOrder operator()(const proto::FlushAbandoned&) const { return engine::AbandonedSessions{}; }
  engine::SessionOrder operator()(const proto::FlushOwner& owner) const {
    return engine::SessionsOf{gatekeeper.holders_of(owner.uid)};
  }
  engine::SessionOrder operator()(const proto::ReserveThis& one) const {
    return engine::ReserveSession{one.handle, one.reserved};
  }
};
// As proto::Realm wants names. No namespace has a name in parentheses.
proto::Realm told(const std::optional<Gatekeeper::Realm>& realm) {
  if (!realm) return {};
  std::string name = realm->name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~'; }, '?');
  switch (realm->kind) {
    case Gatekeeper::Realm::Kind::kDoor:
      return {.door = std::move(name)};
    case Gatekeeper::Realm::Kind::kUnknown:
      return {.tpm_namespace = "(unknown)"};
    case Gatekeeper::Realm::Kind::kContainers:
      return {.tpm_namespace = "(containers)"};
    case Gatekeeper::Realm::Kind::kNamespace:
      break;
  }
  return {.tpm_namespace = std::move(name)};
}
engine::SessionOrder order_of(const proto::SessionOrder& what, const Gatekeeper& gatekeeper) {
  return std::visit(OrderOf{gatekeeper}, what);
}

}  // namespace

observe::AuditRecord Server::record_of(observe::AuditEvent event, const Connection& from) {
  const Badge& badge = from.badge();
  observe::AuditRecord out;
  out.event = event;
  out.owner = badge.owner.value;
  out.uid = badge.who.uid;
  out.pid = badge.who.pid;
  out.executable = badge.who.executable.value();
  out.cgroup = badge.who.cgroup.value();
  out.tpm_namespace = badge.who.tpm_namespace.value();
  out.in_doubt = badge.grant->choice.in_doubt;
  out.door = badge.entrance.door;
  out.chip = badge.who.chip.value_or("");
  out.connection = from.id();
  out.profile = badge.grant->profile().name;
  return out;
}

// --- A connection's own affairs

const Grant& Server::rights_of(Connection& from) {
  Badge& badge = from.badge();
  gatekeeper_.read_program(badge);
  if (gatekeeper_.renew(badge)) badge.untold = true;
  if (badge.untold) badge.untold = !desk_of(from).set_limits(from.id(), badge.limits());
  return *badge.grant;
}

std::optional<wire::Rc> Server::submit(Connection& from, wire::Command command, std::uint8_t locality) {
  const Grant& rights = rights_of(from);
  const auto verdict = Gatekeeper::judge(from.badge(), command, locality);
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
      return chips_.answers(from.badge().chip) ? *answer : kNoChip;
    auto record = record_of(observe::AuditEvent::kRefused, from);
    record.command = command.row().name;
    record.code = wire::from_manager(verdict.rc);
    record.reason = guard::sentence(verdict);
    record.rule = line_of(rights.choice, gatekeeper_.policy());
    audit_.write(record);
    return refuse_for(*record.code, record.reason);
  }
  if (from.badge().untold) return refuse_for(kNoPlace, reason_of(kNoPlace));  // it would run on terms that hold no more
  std::optional<observe::AuditRecord> change;
  if (command.row().affects_others) change = record_of_change(from, command);
  if (const auto refused = desk_of(from).submit(from.id(), from.badge().holder(), rights.limits, std::move(command),
                                                locality, from.commands_taken()))
    return refuse_for(*refused, reason_of(*refused));
  client.use.submitted = std::chrono::steady_clock::now();
  client.use.command = code;
  client.change = std::move(change);
  return std::nullopt;
}

observe::AuditRecord Server::record_of_change(Connection& from, const wire::Command& command) {
  const Grant& rights = rights_of(from);
  auto out = record_of(observe::AuditEvent::kChanged, from);
  out.command = command.row().name;
  out.handle = handle_of(command);
  out.rule = line_of(rights.choice, gatekeeper_.policy());
  out.by_administrator = rights.profile().administer;
  return out;
}

void Server::cancel(Connection& from) {
  desk_of(from).cancel(from.id());
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
  Badge& badge = from.badge();
  (void)rights_of(from);
  const auto before = badge;
  const auto narrowing = gatekeeper_.narrow(badge, profile, from.id());
  if (narrowing == Gatekeeper::Narrowing::kNoSuchProfile) return kNoSuchProfile;
  if (narrowing == Gatekeeper::Narrowing::kTooOften) return kNoPlace;
  // Else commands would run on terms that were given away.
  if (!desk_of(from).set_limits(from.id(), badge.limits())) {
    badge = before;
    return kNoPlace;
  }
  tokens_.forget(from.id());
  auto record = record_of(observe::AuditEvent::kNarrowed, from);
  record.reason = fmt::format("from now on no more than {}", profile);
  audit_.write(record);
  return std::nullopt;
}

std::optional<wire::Rc> Server::share(Connection& from, const proto::Token& token) {
  if (from.badge().narrowed) return kNotAllowed;
  return tokens_.share(token, from.id()) ? std::nullopt : std::optional(kNoSuchToken);
}

std::optional<wire::Rc> Server::join(Connection& from, const proto::Join& what) {
  const auto shared_by = tokens_.find(what.token);
  const auto opener = shared_by ? clients_.find(*shared_by) : clients_.end();
  if (opener == clients_.end()) return kNoSuchToken;
  Badge& badge = from.badge();
  if (!gatekeeper_.join(badge, opener->second.connection->badge()))
    return refuse(from, fmt::format("it is not to join connection {}: it uses another chip, or is of another namespace "
                                    "or door, or one of the two was narrowed",
                                    *shared_by));
  log_.debug("client {} joins client {}: uid {}, pid {}, profile {}", from.id(), *shared_by, badge.who.uid,
             badge.who.pid.value_or(0), badge.grant->profile().name);
  return desk_of(from).inherit(from.id(), badge.holder(), badge.limits(), *shared_by, what.sent);
}

std::optional<wire::Rc> Server::use_chip(Connection& from, const std::string& name) {
  Badge& badge = from.badge();
  if (name == badge.who.chip) return std::nullopt;
  const std::string quoted = proto::json_string(std::string_view(name).substr(0, limits::kMaxName));
  if (!is_administrator(from)) return refuse(from, "only an administrator chooses a chip, and it asked for " + quoted);
  const auto before = badge;
  std::optional<wire::Rc> refused;
  std::string reason = fmt::format("from now on it uses the chip {}", quoted);
  if (!gatekeeper_.change_chip(badge, name)) {
    refused = kNoName;
    reason = fmt::format("there is no chip {}", quoted);
  } else if (!chips_.serves(badge.chip)) {
    badge = before;
    refused = kNoChip;
    reason = fmt::format("the chip {} is not there", quoted);
  } else {
    const TpmDesk& desk = desk_of(from);
    from.speak_to(desk.table(), desk.chip().chip.max_command);
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
  note_refusal(clients_.at(from.id()), std::string(kOrder), kNotAllowed, record.reason);
  return kNotAllowed;
}

// An ordinary user's own sessions are not counted here: the TPM's thread knows them.
std::optional<proto::Status> Server::status(Connection& from) {
  if (is_administrator(from) || ask_desk_for_sessions(from, true)) return status_of(from, desk_of(from), nullptr);
  clients_.at(from.id()).wants_status = true;
  return std::nullopt;
}

void Server::on_listed(std::size_t chip, ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  Connection& to = *found->second.connection;
  if (std::exchange(found->second.wants_status, false))
    return to.deliver_status(status_of(to, chips_.desk(chip), list ? &*list : nullptr));
  const auto realm_of = [&, tells = found->second.tells_realms](space::OwnerId owner) {
    return tells ? told(gatekeeper_.realm_of_owner(owner)) : proto::Realm{};
  };
  to.deliver_sessions(list.map([&](const engine::SessionList& one) { return TpmDesk::told(one, realm_of); }));
}

proto::Status Server::status_of(Connection& from, TpmDesk& desk, const engine::SessionList* list) {
  proto::Status out;
  const bool whole = is_administrator(from);
  space::Holder asks = from.badge().holder();
  if (from.badge().is_guest()) asks.part.connection = from.id();
  if (whole)
    desk.fill(out);
  else
    desk.fill_for(asks, list, out);
  out.server_version = kServerName;
  out.tpm_chip = chips_.name(from.badge().chip);
  if (whole) out.tpm_all_chips = chips_.names(" ");
  if (whole) out.tpm_lost_chips = chips_.names_of_lost(" ");
  out.server_pid = static_cast<std::uint64_t>(::getpid());
  out.server_uptime = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - started_).count());
  out.limits_connections = limits_.connections;
  out.limits_objects_per_space = limits_.objects;
  out.limits_sessions_per_space = limits_.sessions;
  out.limits_bytes = limits_.bytes;
  out.connections_now = whole ? places_.total() : from.badge().is_guest() ? 1 : places_.total_of(from.badge().owner);
  out.connections_ever = whole ? last_client_ : 0;
  out.connections_refused = whole ? refused_ever_ : 0;
  out.log_lost = whole ? log_.lost() : 0;
  out.audit_lost = whole ? audit_.lost() : 0;
  out.audit_held_back = whole ? audit_.held_back() : audit_.held_back_of(from.badge().owner.value);
  if (whole) out.audit_most_held_back = audit_.most_held_back();
  return out;
}

std::optional<wire::Rc> Server::ask_for_sessions(Connection& from) {
  const bool only_own = !is_administrator(from);
  // The sessions of a guest's owner are not its own.
  if (only_own && from.badge().is_guest()) return kNotAllowed;
  clients_.at(from.id()).tells_realms = !only_own;
  return ask_desk_for_sessions(from, only_own);
}

std::optional<wire::Rc> Server::ask_desk_for_sessions(Connection& from, bool only_own) {
  return desk_of(from).ask_for_sessions(from.id(), from.badge().holder(), rights_of(from).limits, only_own);
}

std::optional<wire::Rc> Server::order(Connection& from, const proto::SessionOrder& what) {
  if (!is_administrator(from)) return refuse(from, "only an administrator orders a " + sentence_of(what));
  const auto refused = desk_of(from).order(from.id(), order_of(what, gatekeeper_));
  clients_.at(from.id()).order = what;
  if (refused) audit_order(from, *refused, 0);
  return refused;
}

// --- Policy and doors

std::optional<wire::Rc> Server::reload(Connection& from) {
  if (!is_administrator(from)) return refuse(from, "only an administrator has the configuration read again");
  rereading_.ask(from.id());
  return std::nullopt;
}

void Server::on_read_again(Rereading::Result read, const std::vector<ClientId>& for_whom) {
  if (stopping_) return;
  observe::AuditRecord record;
  for (const ClientId client : for_whom)
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
    gatekeeper_.set_policy(std::make_shared<const guard::Policy>(access_.policy), std::move(read->subordinates));
    const auto troubles = doors_.replace(access_.doors);
    out.sentence = read->has_file
                       ? "the configuration was read again; profiles, rules, namespaces and doors are as it says now"
                       : fmt::format(
                             "the configuration was read again: there is no file {}, so there are no rules, "
                             "namespaces, doors and profiles but the standard ones",
                             config_file_);
    for (const auto& trouble : troubles) out.sentence += "; but " + trouble;
    out.done = troubles.empty();
    if (!read->pending.empty())
      out.sentence += "; these keys take effect when tpmspaced is restarted: " + text_of(read->pending);
  } else {
    out.sentence = "nothing was changed: " + read.error();
    log_.error("{}", out.sentence);
  }
  record.reason = out.sentence;
  audit_.write(record);
  for (const ClientId client : for_whom)
    if (const auto found = clients_.find(client); found != clients_.end())
      found->second.connection->deliver_outcome(out);
}

std::optional<std::string> Server::not_served(const Access& access) const {
  const auto is_served = [&](const std::string& name) {
    return std::any_of(access.chips.begin(), access.chips.end(),
                       [&](const Chip& one) { return one.name == name && chips_.serves_as(one); });
  };
  const auto sentence = [&](std::string_view what, const std::string& name, const std::optional<std::string>& chip) {
    return !chip || is_served(*chip)
               ? std::nullopt
               : std::optional(
                     fmt::format("the {} \"{}\" has the chip \"{}\", which is served as the configuration says "
                                 "from the next start on: restart tpmspaced",
                                 what, name, *chip));
  };
  for (const Door& door : access.doors)
    if (auto fault = sentence("door", door.name, door.chip)) return fault;
  for (const auto& one : access.policy.namespaces())
    if (auto fault = sentence("namespace", one.name, one.chip)) return fault;
  return std::nullopt;
}

tl::expected<std::vector<proto::DoorEntry>, wire::Rc> Server::doors(Connection& from) {
  if (!is_administrator(from)) return tl::make_unexpected(kNotAllowed);
  auto out = doors_.list();
  for (auto& door : out) door.chip_lost = !chips_.answers(door.chip);
  return out;
}

tl::expected<proto::Outcome, wire::Rc> Server::change_door(Connection& from, const proto::DoorOrder& what) {
  if (!is_administrator(from)) return tl::make_unexpected(refuse(from, "only an administrator makes or removes doors"));
  auto record = record_of(observe::AuditEvent::kDoor, from);
  proto::Outcome out;
  if (const auto* entry = std::get_if<proto::DoorEntry>(&what)) {
    const auto added = add_door(*entry);
    out = {.done = added.has_value(), .sentence = added ? words_of(*entry) : added.error()};
  } else {
    const std::string& name = std::get<proto::RemoveDoor>(what).name;
    const bool removed = doors_.remove(name);
    out = {.done = removed,
           .sentence = removed ? fmt::format("the door \"{}\" is gone", name)
                               : fmt::format("there is no door \"{}\" that could be taken away", name)};
  }
  record.reason = out.sentence;
  if (!out.done) record.code = wire::from_manager(wire::rc::kValue);
  audit_.write(record);
  return out;
}

std::string Server::words_of(const proto::DoorEntry& made) const {
  constexpr std::uint32_t kForAll = 02;
  std::string out = fmt::format("the door \"{}\" is at {}, {}", made.name, path_of(made), proto::described(made));
  const guard::Profile* profile = gatekeeper_.policy().profile(made.profile);
  if ((made.mode & kForAll) != 0 && profile != nullptr && guard::exceeds_safe(*profile))
    out += "; everybody may open it, and gets more than \"safe\" allows: owner, group or mode keep others out";
  Door door;
  door.name = made.name;
  door.locality = made.locality;
  if (!made.profile.empty()) door.profile = made.profile;
  const auto profile_of = [&](const std::string& name) -> const guard::Profile& {
    return *gatekeeper_.policy().profile(name);
  };
  const guard::Policy& policy = gatekeeper_.policy();
  if (const auto trouble = trouble_with_locality(door, policy.rules(), policy.namespaces(), profile_of))
    out += "; warning: " + *trouble;
  return out;
}

std::string Server::path_of(const proto::DoorEntry& entry) const {
  return entry.path.empty() ? default_door_path(doors_.main_path(), entry.name) : entry.path;
}

tl::expected<void, std::string> Server::add_door(const proto::DoorEntry& entry) {
  const auto fault = [](std::string sentence) { return tl::make_unexpected(std::move(sentence)); };
  if (!is_name(entry.name)) return fault("a door's name has " + name_rule());
  if (is_reserved_door(entry.name))
    return fault(fmt::format("\"{}\" is the name of a listener of tpmspaced's own; take another one", entry.name));
  if (entry.path.empty() && !is_directory_name(entry.name))
    return fault(fmt::format("\"{}\" cannot be the name of a directory; take another one", entry.name));
  if (!entry.path.empty() && entry.path[0] != '/') return fault("a listener's path begins with a slash");
  const guard::Profile* profile = gatekeeper_.policy().profile(entry.profile);
  if (!entry.profile.empty() && profile == nullptr)
    return fault(fmt::format("there is no profile \"{}\"", entry.profile));
  if (entry.locality && !is_possible(kLocalities, {*entry.locality, *entry.locality}))
    return fault(fmt::format("{} is no locality: localities are 0 to 4 and 32 to 255", *entry.locality));
  if (entry.locality && profile != nullptr && !profile->localities.contains(*entry.locality))
    return fault(
        fmt::format("the profile \"{}\" does not list locality {}: whoever comes by it would be refused everything",
                    entry.profile, *entry.locality));
  if (!entry.chip.empty() && !chips_.has(entry.chip))
    return fault(fmt::format("there is no chip \"{}\"; there are: {}", entry.chip, chips_.names(", ")));
  if (entry.separate_users && entry.profile.empty())
    return fault("separate users are for a door with a profile: by one without each user is who he is at the main one");
  const auto id = [](std::uint32_t value) { return value == proto::kKeep ? std::nullopt : std::optional(value); };
  Door door;
  door.name = entry.name;
  door.default_path = entry.path.empty();
  door.path = path_of(entry);
  door.mode = static_cast<mode_t>(entry.mode & 0777U);
  door.owner = id(entry.uid);
  door.group = id(entry.gid);
  if (!entry.profile.empty()) door.profile = entry.profile;
  door.locality = entry.locality;
  door.connections = entry.limit;
  if (!entry.chip.empty()) door.chip = entry.chip;
  door.separate_users = entry.separate_users;
  return doors_.add(door, true);
}

tl::expected<std::string, wire::Rc> Server::learn(Connection& from, const std::string& name) {
  if (!may_be_learned_as(name)) return tl::make_unexpected(kNoName);
  if (from.learning()) return from.learning()->report(name);
  from.learning() = std::make_unique<Learning>();
  return "";
}

}  // namespace tpmspace::daemon
