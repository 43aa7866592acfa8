#include "daemon/server.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "daemon/refusal_codes.h"
#include "daemon/version.h"
#include "log/audit_sentences.h"
#include "peer/peer_identity.h"
#include "proto/json.h"

namespace tpmspace::daemon {
namespace {

engine::Config engine_config(const config::Limits& limits, const config::Idle& idle) {
  engine::Config out;
  out.client_saved_sessions_per_owner = limits.client_saved_sessions;
  out.max_bytes = limits.bytes;
  out.put_away_after = idle.put_away;
  out.save_objects_after = idle.save_objects;
  out.save_sessions_after = idle.save_sessions;
  return out;
}

host::TpmHost::Terms terms_of(const config::Limits& limits, const config::Idle& idle) {
  return {.engine = engine_config(limits, idle), .queue = limits.queue};
}

space::SpaceLimits most_of_a_space(const config::Limits& limits) {
  return {.objects = limits.objects, .sessions = limits.sessions, .terms = limits.terms};
}

// The daemon's own open descriptors.
std::uint32_t own_descriptors(std::size_t chips, std::size_t listeners) {
  return static_cast<std::uint32_t>(limits::kOwnDescriptors + chips * limits::kChipDescriptors +
                                    listeners * limits::kListenerDescriptors);
}
std::uint32_t least_limit(std::uint32_t a, std::uint32_t b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

std::vector<std::string> names_of(const std::vector<host::Chips::Source>& sources) {
  std::vector<std::string> out;
  out.reserve(sources.size());
  for (const auto& source : sources) out.push_back(source.chip.name);
  return out;
}

}  // namespace

// The system's descriptors are a limit, too. Some are needed for other purposes than served clients: files being read,
// listeners, the TPM, newly accepted clients, and clients refused for lack of a place.
Server::Descriptors Server::divide_descriptors(std::uint32_t own) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  const auto all = static_cast<std::uint32_t>(std::min<rlim_t>(limit.rlim_cur, UINT32_MAX));
  const auto arrivals = all >= limits::kManyDescriptors
                            ? limits::kArrivals
                            : std::clamp(all / 16, std::uint32_t{1}, std::uint32_t{limits::kArrivals / 8});
  const auto unread = std::min(all / 64, std::uint32_t{limits::kUnreadProcesses});
  const std::uint32_t others = own + limits::kPassingDescriptors + unread + limits::kAdministratorPlaces;
  const auto kept = std::max(std::min(all / 4, std::uint32_t{limits::kKeptDescriptors}), others + 4);
  return {.clients = all > kept + arrivals ? all - kept - arrivals : 1,
          .refused = std::min<std::size_t>(kept - others, limits::kRefusedAtATime),
          .arrivals = arrivals,
          .unread = unread};
}

Server::Server(log::Log& log, log::AuditLog audit, Terms terms, loop::ListeningSocket main_listener,
               std::vector<host::Chips::Source> sources)
    : log_(log),
      limits_(terms.limits),
      config_file_(std::move(terms.config_file)),
      descriptors_(divide_descriptors(own_descriptors(sources.size(), terms.access.listeners.size()))),
      audit_(std::move(audit)),
      access_(std::move(terms.access)),
      access_control_(std::make_shared<const guard::Policy>(access_.policy), names_of(sources),
                      most_of_a_space(limits_), limits_.bytes, descriptors_.unread),
      rereading_(loop_, std::move(terms.reread),
                 [this](Rereading::Result read, const std::vector<host::ClientId>& for_whom) {
                   on_read_again(std::move(read), for_whom);
                 }),
      places_(least_limit(limits_.connections, descriptors_.clients)),
      arrivals_(loop_, descriptors_.arrivals,
                Arrivals::Callbacks{
                    .user_of = [this](uid_t uid) { return access_control_.holder_of(uid); },
                    .is_hopeless = [this](const ucred& peer, const guard::Entrance& entrance,
                                          std::size_t waiting) { return is_hopeless(peer, entrance, waiting); },
                    .identify = [this](Arrival client) { on_arrival(std::move(client)); },
                    .room_again = [this] { listeners_.on_room(); }}),
      listeners_(
          loop_, log, std::move(main_listener),
          [this](base::Fd client, const guard::Entrance& entrance, const Listeners::Occupancy& listener) {
            arrivals_.add(std::move(client), entrance, listener);
          },
          [this] { return arrivals_.has_room(); }),
      turns_(loop_,
             [this](host::ClientId id) {
               const auto client = clients_.find(id);
               if (client == clients_.end()) return false;
               client->second.connection->turn();
               return true;
             }),
      reaping_(loop_.deferred([this] { reap_closed(); })),
      refused_timer_(loop_.timer([this] { drop_slow_refused(); })),
      audit_timer_(loop_.timer([this] {
        if (audit_.say_held_back()) audit_timer_.arm(limits::kLinePeriod);
      })),
      chips_(loop_, log, std::move(sources), terms_of(limits_, terms.idle),
             {.open = [this] { let_clients_in(); },
              .main_failed = [this] { on_main_failed(); },
              .over = [this] { on_over(); },
              .away =
                  [this] {
                    log_.info("everything is put away; the machine may sleep");
                    sleep_.may_sleep();
                  },
              .changed = [this] { tell_state(); },
              .replaced = [this](std::size_t chip) { on_replaced(chip); },
              .answered = [this](host::ClientId client, wire::ByteView response) { on_answer(client, response); },
              .order_done = [this](host::ClientId client, const auto& sessions) { on_order_done(client, sessions); },
              .listed = [this](std::size_t chip, host::ClientId client,
                               const auto& list) { on_listed(chip, client, list); },
              .accounted = [this](std::size_t chip, const auto& account) { on_account(chip, account); }}),
      sleep_(loop_, log,
             {.falls_asleep = [this] { chips_.prepare_for_sleep(); }, .wakes_up = [this] { chips_.wake_up(); }}) {
  loop_.on_signal(SIGTERM, [this] { on_stop_signal(); });
  loop_.on_signal(SIGINT, [this] { on_stop_signal(); });
  loop_.on_signal(SIGHUP, [this] {
    audit_.open_anew();
    rereading_.ask(0);
  });
  audit_.on_held_back([this] {
    if (!audit_timer_.armed()) audit_timer_.arm(limits::kLinePeriod);
  });
}

tl::expected<void, std::string> Server::claim_listeners() {
  for (const guard::Listener& listener : access_.listeners)
    if (auto ok = listeners_.add(listener, false); !ok) {
      auto why = fmt::format("the listener \"{}\": {}", listener.name, ok.error());
      if (!listener.dispensable) return tl::unexpected(std::move(why));
      log_.warning("{}; tpmspaced goes on without it", why);
    }
  return {};
}

int Server::run() {
  log_.info("version {} starts, on {}", kVersion, chips_.host(0).name());
  for (std::size_t i = 1; i < chips_.size(); ++i)
    log_.info("and, as the chip \"{}\", on {}", chips_.name(i), chips_.host(i).name());
  if (!access_control_.sees_others())
    log_.warning(
        "tpmspaced cannot see the processes of other users (hidepid, or another /proc), so it does not know "
        "containers: "
        "their root counts as the machine's, or if rules or namespaces ask where a process is, the machine's root gets "
        "no "
        "more than a container's; docs/identity.md says what the unit needs");
  manager_.tell("STATUS=Starting the TPM");
  const int code = loop_.run();
  audit_.last_words();
  return code;
}

// --- TPMs ------------------------------------------------------------------------------------------------------------

void Server::let_clients_in() {
  if (auto ok = listeners_.open(); !ok) {
    log_.error("{}", ok.error());
    exit_code_ = 1;
    return begin_stop();
  }
  for (std::size_t i = 0; i < chips_.size(); ++i) {
    if (!chips_.serves(i)) continue;
    const auto& chip = chips_.host(i).chip();
    log_.info("serving {} on {} ({} {}): {} object slots, {} loaded sessions, {} active sessions",
              chips_.host(i).name(), listeners_.main_path(), chip.manufacturer, chip.vendor, chip.chip.object_slots,
              chip.chip.loaded_sessions, chip.chip.active_sessions);
  }
  manager_.tell("READY=1");
  tell_state();
}

void Server::on_main_failed() {
  exit_code_ = 1;
  if (chips_.size() > 1) begin_stop();
}

void Server::tell_state() {
  const auto troubles = chips_.names_of_lost(", ");
  if (troubles.empty())
    manager_.tell(fmt::format("STATUS=Serving {}", listeners_.main_path()));
  else if (chips_.size() == 1)
    manager_.tell("STATUS=The TPM does not answer");
  else
    manager_.tell(
        fmt::format("STATUS=Serving {}, but for the chips that do not answer: {}", listeners_.main_path(), troubles));
}

void Server::on_replaced(std::size_t chip) {
  const host::TpmHost& host = chips_.host(chip);
  for (auto& [id, client] : clients_)
    if (client.spoken_to() == chip) client.connection->speak_to(host.table(), host.chip().chip.max_command);
}

void Server::on_answer(host::ClientId client, wire::ByteView response) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  // Before delivery: the delivery may submit the next command.
  if (const auto header = wire::read_header(response)) audit_change(found->second, header->code);
  found->second.use.submitted.reset();  // before delivery as well
  found->second.connection->deliver(response);
}

void Server::audit_change(Client& of, std::optional<wire::Rc> code) {
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

void Server::on_order_done(host::ClientId client,
                           const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  Connection& to = *found->second.connection;
  audit_order(to, sessions ? wire::rc::kSuccess : sessions.error(), sessions ? sessions->size() : 0);
  to.reply(reply_or_refusal<proto::OrderReply>(proto::MessageType::kOrder, sessions));
}

void Server::audit_order(const Connection& of, wire::Rc code, const std::optional<std::size_t>& sessions) {
  const auto order = std::exchange(clients_.at(of.id()).order, std::nullopt);
  if (!order) return;
  auto record = record_of(observe::AuditEvent::kOrder, of);
  record.handle = log::handle_of(*order);
  if (code != wire::rc::kSuccess) record.code = code;
  record.reason = log::sentence_of_end(log::sentence_of(*order), code, sessions);
  audit_.write(record);
}

void Server::on_over() {
  if (stopping_) log_.info("stopped");
  loop_.stop(exit_code_);
}

void Server::audit_refusal(const observe::Account& account, observe::AuditEvent event, std::string reason) {
  const auto found = clients_.find(account.connection);
  if (found == clients_.end()) return;
  const Connection& of = *found->second.connection;
  auto record = record_of(event, of);
  if (const auto* row = host_of(of).table().find(account.client_code)) record.command = row->name;
  record.code = account.rc;
  record.reason = std::move(reason);
  audit_.write(record);
}

void Server::learn_held(const observe::Account& account) {
  const auto found = clients_.find(account.connection);
  if (found == clients_.end()) return;
  if (const auto& learning = found->second.connection->learning()) learning->record(*account.held);
}

void Server::on_account(std::size_t chip, const observe::Account& account) {
  count_account(account);
  if (account.stopped_for_lockout)
    audit_refusal(account, observe::AuditEvent::kLockout,
                  explain::sentence_of_lockout(account.stopped_by_own_share, account.lockout_interval));
  if (account.kept_from_pin) audit_refusal(account, observe::AuditEvent::kRefused, std::string(explain::kKeptFromPin));
  if (observe::is_known_crash(account))
    audit_refusal(account, observe::AuditEvent::kRefused, std::string(explain::kKnownCrash));
  if (account.saved_by) {
    const auto& [owner, user, connection] = *account.saved_by;
    audit_refusal(account, observe::AuditEvent::kRefused,
                  fmt::format("the session in the file was saved by {}, and no other client can load it",
                              describe({.owner = {owner}, .part = {.user = user, .connection = connection}})));
  }
  if (account.held) learn_held(account);
  for (const auto& session : account.reclaimed) audit_reclaimed(chip, session);
  for (const auto& session : account.let_go) audit_reclaimed(chip, session);
}

void Server::audit_reclaimed(std::size_t chip, const observe::Reclaimed& session) {
  observe::AuditRecord record;
  record.event = observe::AuditEvent::kReclaimed;
  record.chip = chips_.name(chip);
  if (session.owner != 0) {
    record.owner = session.owner;
    record.uid = peer::uid_of({.owner = {session.owner}, .part = {.user = session.user, .connection = 0}});
    const auto tenant = access_control_.tenant_of_owner({session.owner});
    if (tenant && tenant->kind == AccessControl::Tenant::Kind::kNamespace) record.tpm_namespace = tenant->name;
    if (tenant && tenant->kind == AccessControl::Tenant::Kind::kListener) record.listener = tenant->name;
  }
  record.handle = session.handle;
  record.reason = log::sentence_of(
      session, describe({.owner = {session.by.waiter}, .part = {.user = session.by.user, .connection = 0}}));
  audit_.write(record);
}

std::string Server::describe(const space::Holder& who) const {
  if (who.owner.value == 0) return "nobody";
  const auto narrowed = [&](std::string user) {
    if (who.part.connection != 0) user += fmt::format(", connection {} with a narrowed profile", who.part.connection);
    return user;
  };
  const auto tenant = access_control_.tenant_of_owner(who.owner);
  const std::string user = fmt::format("uid {}", peer::uid_of(who));
  if (!tenant) return narrowed(user);
  switch (tenant->kind) {
    case AccessControl::Tenant::Kind::kUnknown:
      return narrowed("a client that could not be identified, of " + user);
    case AccessControl::Tenant::Kind::kContainers:
      return narrowed(user + " of a container");
    case AccessControl::Tenant::Kind::kNamespace:
      return narrowed(user + " of the namespace " + proto::json_string(tenant->name));
    case AccessControl::Tenant::Kind::kListener:
      break;
  }
  return narrowed(user + " of the listener " + proto::json_string(tenant->name));
}

// --- Clients ---------------------------------------------------------------------------------------------------------

void Server::on_arrival(Arrival arrived) {
  auto& [socket, peer, accepted, entrance, listener] = arrived;
  // For a client without a place the uid is enough: a full identification takes longer than the refusal.
  auto verdict = listener.has_room() ? judge(peer, entrance) : ClientLimits::Verdict::kTooManyAtListener;
  const bool has_kept_place = has_kept_place_for(peer, entrance);
  const bool is_lost = verdict != ClientLimits::Verdict::kWelcome && !has_kept_place;
  auto identity =
      is_lost ? AccessControl::stranger(peer, entrance) : access_control_.admit(socket.get(), entrance, accepted);
  if (!identity) return;
  if (verdict == ClientLimits::Verdict::kWelcome) verdict = judge(*identity);
  const bool is_usual = verdict == ClientLimits::Verdict::kWelcome;
  // A container's root is no administrator of the machine, whatever its uid is.
  const bool is_kept = has_kept_place && identity->permissions->profile().administer;
  const auto refusal = refusal_of(*identity, verdict, is_kept);
  const bool welcome = !refusal;
  if (!welcome && refused_now_ >= descriptors_.refused) return;

  if (identity->permissions->choice.in_doubt) say_in_doubt(*identity);
  const host::ClientId id = ++last_client_;
  const space::Holder holder = identity->holder();
  const auto uid = identity->who.uid;
  const auto pid = identity->who.pid;
  log_.debug("client {}: uid {}, pid {}, profile {}, namespace {}, chip {}", id, uid, identity->who.pid.value_or(0),
             identity->permissions->profile().name, identity->who.tpm_namespace.value().value_or("none"),
             chips_.name(identity->chip));
  const host::TpmHost& tpm = chips_.host(welcome ? identity->chip : 0);
  Connection::Host& host = *this;
  Client client;
  client.connection = std::make_unique<Connection>(loop_, turns_, host, std::move(socket), id, std::move(*identity),
                                                   refusal, tpm.table(), tpm.chip().chip.max_command);
  if (const auto error = client.connection->start()) {
    // The kernel's limit of watched descriptors: this client cannot be served, other clients are.
    if (const auto held_back = refused_lines_.allow(log::RateLimit::Clock::now()))
      log_.warning("a client of uid {} cannot be served, for its socket cannot be watched: {}{}", uid, error.message(),
                   log::held_back_text(*held_back));
    return;
  }
  if (welcome) {
    client.place.emplace(places_.take(holder, is_usual ? ClientLimits::Kind::kUsual : ClientLimits::Kind::kKept));
    client.visit.emplace(listener.count);
    index_.add(id, holder, pid);
  } else {
    ++refused_now_;
    if (!refused_timer_.armed()) refused_timer_.arm(limits::kRefusedPatience);
  }
  clients_.emplace(id, std::move(client));
}

std::optional<wire::Rc> Server::refusal_of(const ClientIdentity& identity, ClientLimits::Verdict verdict,
                                           bool is_kept) {
  if (verdict != ClientLimits::Verdict::kWelcome && !is_kept) {
    say_refused(identity, verdict);
    return kNoPlace;
  }
  if (chips_.serves(identity.chip)) return std::nullopt;
  ++refused_ever_;
  if (const auto held_back = refused_lines_.allow(log::RateLimit::Clock::now()))
    log_.warning("a connection of uid {}, pid {} is refused: the chip \"{}\" is not there{}", identity.who.uid,
                 identity.who.pid.value_or(0), chips_.name(identity.chip), log::held_back_text(*held_back));
  return kNoChip;
}

// If a user is at its limit and the limit of refused clients waiting for their response is reached, further connections
// of the user are closed without a response. Connections waiting for identification count as well, so that one user
// does not fill the room for them.
bool Server::is_hopeless(const ucred& peer, const guard::Entrance& entrance, std::size_t waiting) {
  if (refused_now_ < descriptors_.refused && waiting < limits_.connections_per_owner) return false;
  return judge(peer, entrance, waiting) != ClientLimits::Verdict::kWelcome && !has_kept_place_for(peer, entrance);
}

ClientLimits::Verdict Server::judge(const ucred& peer, const guard::Entrance& entrance, std::size_t more) {
  if (places_.is_full()) return ClientLimits::Verdict::kTooMany;
  const auto owner = access_control_.owner_by_uid(peer.uid, entrance);
  if (!owner) return ClientLimits::Verdict::kWelcome;
  const std::uint32_t most = limits_.connections_per_owner;
  return places_.judge(*owner, most - static_cast<std::uint32_t>(std::min<std::size_t>(more, most)));
}

ClientLimits::Verdict Server::judge(const ClientIdentity& identity) const {
  return places_.judge(identity.holder(), limits_.connections_per_owner,
                       identity.permissions->profile().limits.connections, identity.permissions->namespace_connections);
}

bool Server::has_kept_place_for(const ucred& peer, const guard::Entrance& entrance) const {
  return guard::is_reserved_listener(entrance.listener) && (peer.uid == 0 || peer.uid == own_uid_) &&
         places_.has_kept_place();
}

void Server::say_refused(const ClientIdentity& identity, ClientLimits::Verdict verdict) {
  ++refused_ever_;
  const auto held_back = refused_lines_.allow(log::RateLimit::Clock::now());
  if (!held_back) return;
  const auto limit = [&] {
    switch (verdict) {
      case ClientLimits::Verdict::kTooMany:
        return fmt::format("in all is {}", places_.max_total());
      case ClientLimits::Verdict::kTooManyOfShare:
        return fmt::format("in all is {}, of which one owner may have no more than are still free",
                           places_.max_total());
      case ClientLimits::Verdict::kTooManyOfOwner:
        return fmt::format("of one owner is {}", limits_.connections_per_owner);
      case ClientLimits::Verdict::kTooManyOfUser:
        return fmt::format("of one user is {}", identity.permissions->profile().limits.connections);
      case ClientLimits::Verdict::kTooManyOfNamespace:
        return fmt::format("of the namespace \"{}\" is {}", identity.who.tpm_namespace.value().value_or(""),
                           identity.permissions->namespace_connections);
      case ClientLimits::Verdict::kTooManyAtListener:
      case ClientLimits::Verdict::kWelcome:
        break;
    }
    return fmt::format("of the listener \"{}\" is used up", identity.entrance.listener);
  };
  log_.warning("a connection of uid {}, pid {} is refused: the limit of connections {}{}", identity.who.uid,
               identity.who.pid.value_or(0), limit(), log::held_back_text(*held_back));
}

void Server::say_in_doubt(const ClientIdentity& identity) {
  const auto held_back = doubt_lines_.allow(log::RateLimit::Clock::now());
  if (!held_back) return;
  const std::string_view why =
      identity.who.is_unidentified
          ? "its process could not be read: a program that hands its connection on has to wait for a first answer"
          : "what could not be read of its process decides: tpmspace policy check says which rules and namespaces do";
  log_.warning("a connection of uid {}, pid {} is in doubt and gets the least of what it could be, profile {}; {}{}",
               identity.who.uid, identity.who.pid.value_or(0), identity.permissions->profile().name, why,
               log::held_back_text(*held_back));
}

void Server::drop_slow_refused() {
  const auto too_old = std::chrono::steady_clock::now() - limits::kRefusedPatience;
  std::vector<host::ClientId> slow;
  for (const auto& [id, client] : clients_)
    if (!client.place && client.connection->since() <= too_old) slow.push_back(id);
  for (const host::ClientId id : slow) over(*clients_.at(id).connection);
  if (refused_now_ != 0) refused_timer_.arm(limits::kRefusedPatience);
}

void Server::reap_closed() {
  dead_.clear();
  listeners_.on_room();
}

void Server::answered_early(Connection& from, wire::Rc code) {
  Client& client = clients_.at(from.id());
  if (!std::exchange(client.use.is_noted, false)) note_refusal(client, "", code, std::string(explain::reason_of(code)));
  host_of(from).answered_early(code);
}

void Server::cut_off(Connection& from, const std::string& why) {
  if (const auto held_back = cut_off_lines_.allow(log::RateLimit::Clock::now()))
    log_.info("the connection of uid {}, pid {} is closed, because it {}{}", from.identity().who.uid,
              from.identity().who.pid.value_or(0), why, log::held_back_text(*held_back));
}

void Server::over(Connection& from) {
  const auto found = clients_.find(from.id());
  if (found == clients_.end()) return;
  if (found->second.place)
    index_.remove(from.id(), from.identity().holder(), from.identity().who.pid);
  else
    --refused_now_;
  audit_order(from, wire::rc::kSuccess, std::nullopt);
  audit_change(found->second, std::nullopt);
  log_.debug("client {} has left", from.id());
  chips_.close(from.id());
  tokens_.forget(from.id());
  dead_.push_back(std::move(found->second));
  clients_.erase(found);
  reaping_.ask();
}

// --- Signals ---------------------------------------------------------------------------------------------------------

void Server::on_stop_signal() {
  if (stopping_) {
    log_.warning("told to stop again: leaving at once");
    audit_.last_words();
    log_.flush();
    std::_Exit(1);
  }
  begin_stop();
}

void Server::begin_stop() {
  stopping_ = true;
  manager_.tell("STOPPING=1\nSTATUS=Emptying the TPM");
  log_.info("stopping; connections: {}", places_.total());
  listeners_.close();
  arrivals_.clear();
  chips_.stop();
  std::vector<host::ClientId> all;
  for (const auto& [id, client] : clients_) all.push_back(id);
  for (const host::ClientId id : all) clients_.at(id).connection->stop_reading();
}

}  // namespace tpmspace::daemon
