#include "daemon/server.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "daemon/peer_identity.h"
#include "daemon/profile_tables.h"
#include "daemon/version.h"

namespace tpmspace::daemon {
namespace {

constexpr wire::Rc kNoPlace = wire::from_manager(wire::rc::kMemory);
constexpr wire::Rc kNoSuchProfile = wire::from_manager(wire::rc::kValue), kNoName = kNoSuchProfile;
constexpr wire::Rc kNotAllowed = wire::from_manager(wire::rc::kDisabled);

engine::Config engine_config(const Limits& limits) {
  engine::Config out;
  out.client_saved_sessions_per_owner = limits.client_saved_sessions;
  out.max_bytes = limits.bytes;
  return out;
}

TpmDesk::Terms terms_of(const Limits& limits) {
  return {.engine = engine_config(limits), .queue = limits.queue};
}

space::SpaceLimits most_of_a_space(const Limits& limits) {
  return {.objects = limits.objects, .sessions = limits.sessions, .terms = limits.terms};
}

// Without a limit the descriptors that the system gives are one, and some of them are needed for other things than
// clients: files that are read, doors, the TPM.
std::uint32_t most_connections(const Limits& limits) {
  rlimit descriptors{};
  if (limits.connections != 0 || ::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return limits.connections;
  const auto most = std::min<rlim_t>(descriptors.rlim_cur, UINT32_MAX);
  return most >= rlim_t{4} * limits::kKeptDescriptors ? static_cast<std::uint32_t>(most - limits::kKeptDescriptors) : 0;
}

// What is known of whoever did it.
observe::AuditRecord record_of(observe::AuditEvent event, const Connection& from) {
  const Badge& badge = from.badge();
  observe::AuditRecord out;
  out.event = event;
  out.uid = badge.who.uid;
  out.pid = badge.who.pid;
  out.executable = badge.who.executable;
  out.cgroup = badge.who.cgroup;
  out.tpm_namespace = badge.who.tpm_namespace;
  out.door = badge.entrance.door;
  out.connection = from.id();
  out.profile = badge.grant->profile().name;
  return out;
}

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
    return engine::SessionsOf{gatekeeper.owners_of(owner.uid)};
  }
  engine::SessionOrder operator()(const proto::ReserveThis& one) const {
    return engine::ReserveSession{one.handle, one.reserved};
  }
};
engine::SessionOrder order_of(const proto::SessionOrder& what, const Gatekeeper& gatekeeper) {
  return std::visit(OrderOf{gatekeeper}, what);
}

// Says nothing unless a service manager listens.
void tell_manager(const std::string& state) {
  sd_notify(0, state.c_str());
}

}  // namespace

Server::Server(Log& log, AuditLog audit, Terms terms, Listener main_door, TpmSource source)
    : log_(log),
      limits_(terms.limits),
      reread_(std::move(terms.reread)),
      audit_(std::move(audit)),
      access_(std::move(terms.access)),
      gatekeeper_(std::make_shared<const guard::Policy>(access_.policy), most_of_a_space(limits_), limits_.bytes),
      places_(most_connections(limits_)),
      doors_(loop_, log, std::move(main_door),
             [this](posix::Fd client, const Entrance& entrance, const Doors::Count& visits, bool welcome) {
               on_client(std::move(client), entrance, visits, welcome);
             }),
      again_turn_(loop_.deferred([this] { take_turns(); })),
      burial_(loop_.deferred([this] { bury(); })),
      refused_timer_(loop_.timer([this] { drop_slow_refused(); })),
      desk_(loop_, log, std::move(source), terms_of(limits_),
            {.ready = [this] { on_tpm_ready(); },
             .failed = [this](const std::string& why) { on_tpm_failed(why); },
             .answered = [this](ClientId client, wire::ByteView response) { on_answer(client, response); },
             .order_done = [this](ClientId client, const auto& sessions) { on_order_done(client, sessions); },
             .stopped = [this] { on_tpm_stopped(); },
             .lost_or_found =
                 [this](bool lost) {
                   tell_manager(lost ? "STATUS=The TPM does not answer" : "STATUS=Serving " + doors_.main_path());
                 },
             .accounted = [this](const observe::Account& account) { on_account(account); }}) {
  loop_.on_signal(SIGTERM, [this] { on_stop_signal(); });
  loop_.on_signal(SIGINT, [this] { on_stop_signal(); });
  loop_.on_signal(SIGHUP, [this] { (void)read_policy_again(); });
}

tl::expected<void, std::string> Server::claim_doors() {
  for (const Door& door : access_.doors)
    if (auto ok = doors_.add(door, false); !ok)
      return tl::unexpected(fmt::format("the door \"{}\": {}", door.name, ok.error()));
  return {};
}

int Server::run() {
  log_.info("version {} starts, on {}", kVersion, desk_.name());
  tell_manager("STATUS=Starting the TPM");
  return loop_.run();
}

// --- TPM -------------------------------------------------------------------------------------------------------------

void Server::on_tpm_ready() {
  if (stopping_) return;
  if (auto ok = doors_.open(); !ok) {
    log_.error("{}", ok.error());
    exit_code_ = 1;
    return begin_stop();
  }
  const auto& chip = desk_.chip();
  log_.info("serving {} on {} ({} {}): {} object slots, {} loaded sessions, {} active sessions", desk_.name(),
            doors_.main_path(), chip.manufacturer, chip.vendor, chip.chip.object_slots, chip.chip.loaded_sessions,
            chip.chip.active_sessions);
  tell_manager(fmt::format("READY=1\nSTATUS=Serving {}", doors_.main_path()));
}

void Server::on_tpm_failed(const std::string& why) {
  if (!stopping_) {
    log_.error("{}: {}", desk_.name(), why);
    exit_code_ = 1;
  }
  loop_.stop(exit_code_);
}

void Server::on_answer(ClientId client, wire::ByteView response) {
  const auto found = clients_.find(client);
  if (found != clients_.end()) found->second.connection->deliver(response);
}

void Server::on_order_done(ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  Connection& to = *found->second.connection;
  if (sessions && !sessions->empty()) {
    auto record = record_of(observe::AuditEvent::kOrder, to);
    record.reason = fmt::format("an order about sessions concerned {}", sessions->size());
    audit_.write(record);
  }
  to.deliver_order(sessions);
}

void Server::on_tpm_stopped() {
  log_.info("stopped");
  loop_.stop(exit_code_);
}

// --- Clients ---------------------------------------------------------------------------------------------------------

void Server::on_client(posix::Fd socket, const Entrance& entrance, const Doors::Count& visits, bool door_has_room) {
  auto badge = gatekeeper_.admit(socket.get(), entrance, since_boot());
  if (!badge) return;
  const bool welcome = has_room(*badge, door_has_room);
  if (!welcome && refused_now_ >= limits::kRefusedAtATime) return;

  const ClientId id = ++last_client_;
  const auto owner = badge->owner;
  const auto uid = badge->who.uid;
  log_.debug("client {}: uid {}, pid {}, profile {}, namespace {}", id, uid, badge->who.pid.value_or(0),
             badge->grant->profile().name, badge->who.tpm_namespace.value_or("none"));
  Connection::Host& host = *this;
  Client client;
  try {
    client.connection = std::make_unique<Connection>(loop_, host, std::move(socket), id, std::move(*badge),
                                                     welcome ? std::nullopt : std::optional(kNoPlace), desk_.table(),
                                                     desk_.chip().chip.max_command);
  } catch (const std::system_error& e) {
    // The kernel's limit of watched descriptors: this client cannot be served, the others are.
    log_.warning("a client of uid {} cannot be served: {}", uid, e.what());
    return;
  }
  if (welcome) {
    client.place.emplace(places_.take(owner));
    client.visit.emplace(visits);
  } else {
    ++refused_now_;
    if (!refused_timer_.armed()) refused_timer_.arm(limits::kRefusedPatience);
  }
  clients_.emplace(id, std::move(client));
}

bool Server::has_room(const Badge& badge, bool door_has_room) {
  const auto of_owner = std::min(limits_.connections_per_owner, badge.grant->profile().limits.connections);
  const auto of_namespace = badge.grant->namespace_connections;
  const auto verdict = places_.judge(badge.owner, of_owner, of_namespace);
  if (door_has_room && verdict == ClientLimits::Verdict::kWelcome) return true;
  ++refused_ever_;
  if (const auto held_back = refused_lines_.allow(RateLimit::Clock::now())) {
    const auto limit = [&] {
      switch (verdict) {
        case ClientLimits::Verdict::kTooMany:
          return fmt::format("in all is {}", limits_.connections);
        case ClientLimits::Verdict::kTooManyOfOwner:
          return fmt::format("of one owner is {}", of_owner);
        case ClientLimits::Verdict::kTooManyOfNamespace:
          return fmt::format("of the namespace \"{}\" is {}", badge.who.tpm_namespace.value_or(""), of_namespace);
        case ClientLimits::Verdict::kWelcome:
          break;
      }
      return fmt::format("of the door \"{}\" is used up", badge.entrance.door);
    };
    log_.warning("a connection of uid {}, pid {} is refused: the limit of connections {} ({} more such before this)",
                 badge.who.uid, badge.who.pid.value_or(0), limit(), *held_back);
  }
  return false;
}

void Server::drop_slow_refused() {
  const auto too_old = std::chrono::steady_clock::now() - limits::kRefusedPatience;
  std::vector<ClientId> slow;
  for (const auto& [id, client] : clients_)
    if (!client.place && client.connection->since() <= too_old) slow.push_back(id);
  for (const ClientId id : slow) over(*clients_.at(id).connection);
  if (refused_now_ != 0) refused_timer_.arm(limits::kRefusedPatience);
}

// Some of them, so that those who have just come are looked at between: then the others.
void Server::take_turns() {
  for (std::size_t n = std::min(again_.size(), limits::kTurnsPerRound); n > 0; --n) {
    const ClientId id = again_.front();
    again_.pop_front();
    if (const auto found = clients_.find(id); found != clients_.end()) found->second.connection->turn();
  }
  if (!again_.empty()) again_turn_.ask();
}

void Server::bury() {
  dead_.clear();
  doors_.on_descriptor_freed();
}

// --- Signals ---------------------------------------------------------------------------------------------------------

void Server::on_stop_signal() {
  if (stopping_) {
    log_.warning("told to stop again: leaving at once");
    std::_Exit(1);
  }
  begin_stop();
}

void Server::begin_stop() {
  stopping_ = true;
  tell_manager("STOPPING=1\nSTATUS=Emptying the TPM");
  log_.info("stopping; connections: {}", places_.total());
  doors_.close();
  desk_.stop();
  std::vector<ClientId> all;
  for (const auto& [id, client] : clients_) all.push_back(id);
  for (const ClientId id : all) clients_.at(id).connection->stop_reading();
}

// --- Connection::Host ------------------------------------------------------------------------------------------------

const Grant& Server::rights_of(Connection& from) {
  Badge& badge = from.badge();
  if (gatekeeper_.renew(badge)) badge.untold = true;
  if (badge.untold) badge.untold = !desk_.set_limits(from.id(), badge.grant->limits);
  return *badge.grant;
}

std::optional<wire::Rc> Server::submit(Connection& from, wire::Command command, std::uint8_t locality) {
  const Grant& rights = rights_of(from);
  const auto verdict = Gatekeeper::judge(from.badge(), command, locality);
  if (from.learning())
    from.learning()->record(command, locality, verdict.allowed() ? wire::rc::kSuccess : wire::from_manager(verdict.rc));
  if (!verdict.allowed()) {
    auto record = record_of(observe::AuditEvent::kRefused, from);
    record.command = command.row().name;
    record.code = wire::from_manager(verdict.rc);
    record.reason = guard::sentence(verdict.reason);
    record.rule = line_of(rights.choice, gatekeeper_.policy());
    audit_.write(record);
    return record.code;
  }
  if (from.badge().untold) return kNoPlace;  // it would run on terms that hold no more
  return desk_.submit(from.id(), from.badge().owner, rights.limits, std::move(command), locality);
}

void Server::cancel(Connection& from) {
  desk_.cancel(from.id());
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
  if (!gatekeeper_.narrow(badge, profile, from.id())) return kNoSuchProfile;
  // Else commands would run on terms that were given away.
  if (!desk_.set_limits(from.id(), badge.grant->limits)) {
    badge = before;
    return kNoPlace;
  }
  auto record = record_of(observe::AuditEvent::kNarrowed, from);
  record.reason = fmt::format("from now on no more than {}", profile);
  audit_.write(record);
  return std::nullopt;
}

proto::Status Server::status(Connection& from) {
  proto::Status out;
  const bool whole = is_administrator(from);
  if (whole)
    desk_.fill(out);
  else
    desk_.fill_for(from.badge().narrowed ? space::OwnerId{} : from.badge().owner, out);
  out.server_version = kServerName;
  out.server_pid = static_cast<std::uint64_t>(::getpid());
  out.server_uptime = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - started_).count());
  out.limits_connections = limits_.connections;
  out.limits_objects_per_space = limits_.objects;
  out.limits_sessions_per_space = limits_.sessions;
  out.limits_bytes = limits_.bytes;
  out.connections_now = whole ? places_.total() : from.badge().narrowed ? 1 : places_.total_of(from.badge().owner);
  out.connections_ever = whole ? last_client_ : 0;
  out.connections_refused = whole ? refused_ever_ : 0;
  return out;
}

tl::expected<proto::Sessions, wire::Rc> Server::sessions(Connection& from) {
  if (is_administrator(from)) return desk_.sessions(std::nullopt);
  // Its owner's are not its own.
  if (from.badge().narrowed) return tl::make_unexpected(kNotAllowed);
  return desk_.sessions(from.badge().owner);
}

std::optional<wire::Rc> Server::order(Connection& from, const proto::SessionOrder& what) {
  if (!is_administrator(from)) return kNotAllowed;
  return desk_.order(from.id(), order_of(what, gatekeeper_));
}

// --- Policy and doors

tl::expected<proto::Outcome, wire::Rc> Server::reload(Connection& from) {
  if (!is_administrator(from)) return tl::make_unexpected(kNotAllowed);
  return read_policy_again();
}

proto::Outcome Server::read_policy_again() {
  observe::AuditRecord record;
  record.event = observe::AuditEvent::kPolicy;
  auto access = reread_();
  proto::Outcome out{.done = access.has_value(), .sentence = ""};
  if (access) {
    access_ = std::move(*access);
    gatekeeper_.set_policy(std::make_shared<const guard::Policy>(access_.policy));
    const auto troubles = doors_.replace(access_.doors);
    out.sentence = "the configuration was read again; profiles, rules, namespaces and doors are as it says now";
    for (const auto& trouble : troubles) out.sentence += "; but " + trouble;
  } else {
    out.sentence = "nothing was changed: " + access.error();
    log_.error("{}", out.sentence);
  }
  record.reason = out.sentence;
  audit_.write(record);
  return out;
}

tl::expected<std::vector<proto::DoorEntry>, wire::Rc> Server::doors(Connection& from) {
  if (!is_administrator(from)) return tl::make_unexpected(kNotAllowed);
  return doors_.list();
}

tl::expected<proto::Outcome, wire::Rc> Server::change_door(Connection& from, const proto::DoorOrder& what) {
  if (!is_administrator(from)) return tl::make_unexpected(kNotAllowed);
  auto record = record_of(observe::AuditEvent::kDoor, from);
  proto::Outcome out;
  if (const auto* entry = std::get_if<proto::DoorEntry>(&what)) {
    const auto added = add_door(*entry);
    out = {.done = added.has_value(),
           .sentence = added ? fmt::format("the door \"{}\" is at {}", entry->name, entry->path) : added.error()};
  } else {
    const std::string& name = std::get<proto::RemoveDoor>(what).name;
    const bool removed = doors_.remove(name);
    out = {.done = removed,
           .sentence = removed ? fmt::format("the door \"{}\" is gone", name)
                               : fmt::format("there is no door \"{}\" that could be taken away", name)};
  }
  record.reason = out.sentence;
  audit_.write(record);
  return out;
}

tl::expected<void, std::string> Server::add_door(const proto::DoorEntry& entry) {
  const auto fault = [](std::string sentence) { return tl::make_unexpected(std::move(sentence)); };
  if (!is_name(entry.name)) return fault("a door's name has at most 64 letters, digits, \"-\", \"_\" and \".\"");
  if (entry.path.empty() || entry.path[0] != '/') return fault("a door's path begins with a slash");
  if (!entry.profile.empty() && gatekeeper_.policy().profile(entry.profile) == nullptr)
    return fault(fmt::format("there is no profile \"{}\"", entry.profile));
  const auto id = [](std::uint32_t value) { return value == proto::kKeep ? std::nullopt : std::optional(value); };
  Door door;
  door.name = entry.name;
  door.path = entry.path;
  door.mode = static_cast<mode_t>(entry.mode & 0777U);
  door.owner = id(entry.uid);
  door.group = id(entry.gid);
  if (!entry.profile.empty()) door.profile = entry.profile;
  door.locality = entry.locality;
  door.connections = entry.limit;
  const guard::Profile* profile = entry.profile.empty() ? nullptr : gatekeeper_.policy().profile(entry.profile);
  if (entry.locality && profile != nullptr && !profile->localities.contains(*entry.locality))
    return fault(
        fmt::format("the profile \"{}\" does not list locality {}: whoever comes by it would be refused "
                    "everything",
                    entry.profile, *entry.locality));
  return doors_.add(door, true);
}

tl::expected<std::string, wire::Rc> Server::learn(Connection& from, const std::string& name) {
  if (!may_be_learned_as(name)) return tl::make_unexpected(kNoName);
  if (from.learning()) return from.learning()->report(name);
  from.learning() = std::make_unique<Learning>();
  return "";
}

void Server::audit_lockout(const observe::Account& account) {
  const auto found = clients_.find(account.connection);
  if (found == clients_.end()) return;
  auto record = record_of(observe::AuditEvent::kLockout, *found->second.connection);
  if (const auto* row = desk_.table().find(account.client_code)) record.command = row->name;
  record.code = account.rc;
  record.reason = "the owner's share of wrong authorizations is used up";
  audit_.write(record);
}

void Server::on_account(const observe::Account& account) {
  if (account.stopped_for_lockout) audit_lockout(account);
  for (const auto& session : account.reclaimed) {
    observe::AuditRecord record;
    record.event = observe::AuditEvent::kReclaimed;
    if (session.owner != 0) {
      record.uid = uid_of({session.owner});
      record.tpm_namespace = gatekeeper_.namespace_name_of({session.owner});
    }
    record.handle = session.handle;
    record.reason = "a session was taken, because others waited or an administrator said so";
    audit_.write(record);
  }
}

void Server::answered_early(wire::Rc code) {
  desk_.answered_early(code);
}

void Server::cut_off(Connection& from, const std::string& why) {
  if (const auto held_back = cut_off_lines_.allow(RateLimit::Clock::now()))
    log_.info("the connection of uid {}, pid {} is closed, because it {} ({} more such before this)",
              from.badge().who.uid, from.badge().who.pid.value_or(0), why, *held_back);
}

void Server::again(Connection& from) {
  again_.push_back(from.id());
  again_turn_.ask();
}

void Server::over(Connection& from) {
  const auto found = clients_.find(from.id());
  if (found == clients_.end()) return;
  if (!found->second.place) --refused_now_;
  log_.debug("client {} has left", from.id());
  desk_.close(from.id());
  dead_.push_back(std::move(found->second));
  clients_.erase(found);
  burial_.ask();
}

}  // namespace tpmspace::daemon
