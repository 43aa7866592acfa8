#include "daemon/server.h"

#include <fmt/core.h>
#include <sys/socket.h>
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
constexpr wire::Rc kNotAllowed = wire::from_manager(wire::rc::kDisabled);

engine::Config engine_config(const Limits& limits) {
  engine::Config out;
  out.client_saved_sessions_per_owner = limits.client_saved_sessions;
  out.max_bytes = limits.bytes;
  return out;
}

TpmDesk::Terms terms_of(const Limits& limits) {
  return {.engine = engine_config(limits),
          .space = {.objects = limits.objects, .sessions = limits.sessions, .terms = limits.terms},
          .queue = limits.queue};
}

std::optional<Peer> peer_of(int fd) {
  const auto peer = peer_credentials(fd);
  if (!peer) return std::nullopt;
  return Peer{peer->uid, peer->pid};
}

// Until there are rules: root, and whom the daemon runs as.
bool is_administrator(const Peer& peer) {
  return peer.uid == 0 || peer.uid == ::geteuid();
}

struct OrderOf {
  engine::SessionOrder operator()(const proto::FlushThese& these) const { return engine::TheseSessions{these.handles}; }
  engine::SessionOrder operator()(const proto::FlushAbandoned&) const { return engine::AbandonedSessions{}; }
  engine::SessionOrder operator()(const proto::FlushOwner& owner) const {
    return engine::SessionsOf{owner_of(Peer{.uid = owner.uid, .pid = 0})};
  }
  engine::SessionOrder operator()(const proto::ReserveThis& one) const {
    return engine::ReserveSession{one.handle, one.reserved};
  }
};
engine::SessionOrder order_of(const proto::SessionOrder& what) {
  return std::visit(OrderOf{}, what);
}

// Says nothing unless a service manager listens.
void tell_manager(const std::string& state) {
  sd_notify(0, state.c_str());
}

}  // namespace

Server::Server(Log& log, const Limits& limits, Listener listener, TpmSource source)
    : log_(log),
      limits_(limits),
      listener_(std::move(listener)),
      places_(limits.connections, limits.connections_per_owner),
      again_turn_(loop_.deferred([this] {
        for (const ClientId id : std::exchange(again_, {}))
          if (const auto found = clients_.find(id); found != clients_.end()) found->second.connection->turn();
      })),
      burial_(loop_.deferred([this] { bury(); })),
      refused_timer_(loop_.timer([this] { drop_slow_refused(); })),
      desk_(loop_, log, std::move(source), terms_of(limits),
            {.ready = [this] { on_tpm_ready(); },
             .failed = [this](const std::string& why) { on_tpm_failed(why); },
             .answered = [this](ClientId client, wire::ByteView response) { on_answer(client, response); },
             .order_done = [this](ClientId client, const auto& sessions) { on_order_done(client, sessions); },
             .stopped = [this] { on_tpm_stopped(); },
             .lost_or_found =
                 [this](bool lost) {
                   tell_manager(lost ? "STATUS=The TPM does not answer" : "STATUS=Serving " + listener_.path());
                 }}) {
  loop_.on_signal(SIGTERM, [this] { on_stop_signal(); });
  loop_.on_signal(SIGINT, [this] { on_stop_signal(); });
  loop_.on_signal(SIGHUP, [this] {
    log_.notice("SIGHUP: the configuration is read at the start only; restart tpmspaced to apply a new one");
  });
}

int Server::run() {
  log_.info("version {} starts, on {}", kVersion, desk_.name());
  tell_manager("STATUS=Starting the TPM");
  return loop_.run();
}

// --- TPM -------------------------------------------------------------------------------------------------------------

void Server::on_tpm_ready() {
  if (stopping_) return;
  if (auto ok = listener_.publish(); !ok) {
    log_.error("{}", ok.error());
    desk_.stop();
    stopping_ = true;
    exit_code_ = 1;
    return;
  }
  acceptor_.emplace(loop_, log_, listener_.fd(), [this](posix::Fd client) { on_client(std::move(client)); });
  const auto& chip = desk_.chip();
  log_.info("serving {} on {} ({} {}): {} object slots, {} loaded sessions, {} active sessions", desk_.name(),
            listener_.path(), chip.manufacturer, chip.vendor, chip.chip.object_slots, chip.chip.loaded_sessions,
            chip.chip.active_sessions);
  tell_manager(fmt::format("READY=1\nSTATUS=Serving {}", listener_.path()));
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
  if (sessions && !sessions->empty())
    log_.notice("an order about sessions of uid {}, pid {} concerned {}", to.peer().uid, to.peer().pid,
                sessions->size());
  to.deliver_order(sessions);
}

void Server::on_tpm_stopped() {
  log_.info("stopped");
  loop_.stop(exit_code_);
}

// --- Clients ---------------------------------------------------------------------------------------------------------

void Server::on_client(posix::Fd socket) {
  const auto peer = peer_of(socket.get());
  if (!peer) return;
  const bool welcome = has_room(*peer);
  if (!welcome && refused_now_ >= limits::kRefusedAtATime) return;

  Connection::Identity identity{.id = ++last_client_, .peer = *peer, .refusal = std::nullopt};
  if (!welcome) identity.refusal = kNoPlace;
  Connection::Host& host = *this;
  Client client;
  try {
    client.connection = std::make_unique<Connection>(loop_, host, std::move(socket), identity, desk_.table(),
                                                     desk_.chip().chip.max_command);
  } catch (const std::system_error& e) {
    // The kernel's limit of watched descriptors: this client cannot be served, the others are.
    log_.warning("a client of uid {} cannot be served: {}", peer->uid, e.what());
    return;
  }
  if (welcome) {
    client.place.emplace(places_.take(owner_of(*peer)));
  } else {
    ++refused_now_;
    if (!refused_timer_.armed()) refused_timer_.arm(limits::kRefusedPatience);
  }
  log_.debug("client {}: uid {}, pid {}", identity.id, peer->uid, peer->pid);
  clients_.emplace(identity.id, std::move(client));
}

bool Server::has_room(const Peer& peer) {
  const auto verdict = places_.judge(owner_of(peer));
  if (verdict == ClientLimits::Verdict::kWelcome) return true;
  ++refused_ever_;
  if (const auto held_back = refused_lines_.allow(RateLimit::Clock::now())) {
    const bool total = verdict == ClientLimits::Verdict::kTooMany;
    log_.warning(
        "a connection of uid {}, pid {} is refused: the limit of connections {} is {} ({} more such before this)",
        peer.uid, peer.pid, total ? "in all" : "of one owner",
        total ? limits_.connections : limits_.connections_per_owner, *held_back);
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

void Server::bury() {
  dead_.clear();
  if (acceptor_) acceptor_->on_descriptor_freed();
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
  acceptor_.reset();
  listener_.withdraw();
  desk_.stop();
  std::vector<ClientId> all;
  for (const auto& [id, client] : clients_) all.push_back(id);
  for (const ClientId id : all) clients_.at(id).connection->stop_reading();
}

// --- Connection::Host ------------------------------------------------------------------------------------------------

std::optional<wire::Rc> Server::submit(Connection& from, wire::Command command, std::uint8_t locality) {
  return desk_.submit(from.id(), owner_of(from.peer()), std::move(command), locality);
}

void Server::cancel(Connection& from) {
  desk_.cancel(from.id());
}

proto::HelloReply Server::hello() {
  return {.version = proto::kProtocolVersion,
          .server = std::string(kServerName),
          .pid = static_cast<std::uint32_t>(::getpid())};
}

proto::Status Server::status() {
  proto::Status out;
  desk_.fill(out);
  out.server_version = kServerName;
  out.server_pid = static_cast<std::uint64_t>(::getpid());
  out.server_uptime = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - started_).count());
  out.limits_connections = limits_.connections;
  out.limits_objects_per_space = limits_.objects;
  out.limits_sessions_per_space = limits_.sessions;
  out.limits_bytes = limits_.bytes;
  out.connections_now = places_.total();
  out.connections_ever = last_client_;
  out.connections_refused = refused_ever_;
  return out;
}

proto::Sessions Server::sessions(Connection& from) {
  return desk_.sessions(is_administrator(from.peer()) ? std::nullopt : std::optional(owner_of(from.peer())));
}

std::optional<wire::Rc> Server::order(Connection& from, const proto::SessionOrder& what) {
  if (!is_administrator(from.peer())) return kNotAllowed;
  return desk_.order(from.id(), order_of(what));
}

void Server::answered_early(wire::Rc code) {
  desk_.answered_early(code);
}

void Server::cut_off(Connection& from, const std::string& why) {
  if (const auto held_back = cut_off_lines_.allow(RateLimit::Clock::now()))
    log_.info("the connection of uid {}, pid {} is closed, because it {} ({} more such before this)", from.peer().uid,
              from.peer().pid, why, *held_back);
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
