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
#include "daemon/version.h"

namespace tpmspace::daemon {
namespace {

constexpr wire::Rc kNoPlace = wire::from_manager(wire::rc::kMemory);

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

void Server::audit_lockout(const observe::Account& account) {
  const auto found = clients_.find(account.connection);
  if (found == clients_.end()) return;
  auto record = record_of(observe::AuditEvent::kLockout, *found->second.connection);
  if (const auto* row = desk_.table().find(account.client_code)) record.command = row->name;
  record.code = account.rc;
  record.reason = "the owner's share of wrong authorizations is used up";
  audit_.write(record);
}

void Server::learn_held(const observe::Account& account) {
  const auto found = clients_.find(account.connection);
  if (found == clients_.end()) return;
  if (const auto& learning = found->second.connection->learning()) learning->record(*account.held);
}

void Server::on_account(const observe::Account& account) {
  if (account.stopped_for_lockout) audit_lockout(account);
  if (account.held) learn_held(account);
  for (const auto& session : account.reclaimed) {
    observe::AuditRecord record;
    record.event = observe::AuditEvent::kReclaimed;
    if (session.owner != 0) {
      record.uid = uid_of({session.owner});
      const auto realm = gatekeeper_.realm_of_owner({session.owner});
      if (realm && realm->kind == Gatekeeper::Realm::Kind::kNamespace) record.tpm_namespace = realm->name;
      if (realm && realm->kind == Gatekeeper::Realm::Kind::kDoor) record.door = realm->name;
    }
    record.handle = session.handle;
    record.reason = "a session was taken, because others waited or an administrator said so";
    audit_.write(record);
  }
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
          return fmt::format("in all is {}", places_.max_total());
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

}  // namespace tpmspace::daemon
