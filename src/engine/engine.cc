#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "engine/impl.h"
#include "wire/response.h"

namespace tpmspace::engine {

namespace rc = wire::rc;

namespace {

// With so much that nobody wants in the TPM, every other step tidies up even while clients wait.
constexpr std::size_t kUnwantedBacklog = 8;

}  // namespace

Engine::Engine(wire::Tpm& tpm, const wire::CommandTable& table, const space::Chip& chip, const Config& config,
               const std::function<Time()>& clock)
    : impl_(std::make_unique<Impl>(tpm, table, chip, config, clock)) {}
Engine::~Engine() = default;

Gate& Engine::gate() {
  return impl_->gate;
}

ConnectionId Engine::open(space::OwnerId owner, const space::SpaceLimits& limits) {
  // A connection has the number of its space, so that restored books are enough to find it again.
  const space::SpaceId id = impl_->manager.open(owner, limits);
  impl_->connections.emplace(id.value, Connection{owner, id, std::nullopt});
  return id.value;
}

void Engine::set_limits(ConnectionId connection, const space::SpaceLimits& limits) {
  impl_->manager.set_limits(impl_->connections.at(connection).space, limits);
}

Ticket Engine::submit(ConnectionId connection, wire::Command command, std::uint8_t locality, Time now) {
  Connection& to = impl_->connections.at(connection);
  const Ticket ticket = ++impl_->last_ticket;
  to.waiting = Waiting{ticket, std::move(command), locality};
  impl_->tickets.emplace(ticket, connection);
  impl_->gate.expect(ticket);
  impl_->queue.push(to.owner.value, ticket, impl_->limits_of(to).priority);
  impl_->last_activity = now;
  return ticket;
}

bool Engine::cancel(Ticket ticket) {
  const auto it = impl_->tickets.find(ticket);
  if (it == impl_->tickets.end()) return false;
  Connection& connection = impl_->connections.at(it->second);
  impl_->queue.remove(connection.owner.value, ticket);
  impl_->leave_line(ticket);
  if (impl_->gate.withdraw(ticket))
    impl_->cancelled.push_back(Reply{it->second, ticket, wire::error_response(wire::from_manager(rc::kCanceled))});
  connection.waiting.reset();
  impl_->tickets.erase(it);
  return true;
}

void Engine::close(ConnectionId id) {
  const auto it = impl_->connections.find(id);
  if (it == impl_->connections.end()) return;
  if (it->second.waiting) {
    impl_->gate.withdraw(it->second.waiting->ticket);
    impl_->queue.remove(it->second.owner.value, it->second.waiting->ticket);
    impl_->leave_line(it->second.waiting->ticket);
    impl_->tickets.erase(it->second.waiting->ticket);
  }
  std::erase_if(impl_->cancelled, [&](const Reply& reply) { return reply.connection == id; });
  impl_->manager.close(it->second.space);
  impl_->connections.erase(it);
}

Step Engine::step(Time now) {
  Impl& me = *impl_;
  if (!me.cancelled.empty() && (me.queue.size() == 0 || !me.answered_cancelled_last)) {
    me.answered_cancelled_last = true;
    Step step;
    step.reply = std::move(me.cancelled.front());
    me.cancelled.pop_front();
    step.account = observe::Account{};
    const Connection& connection = me.connections.at(step.reply->connection);
    step.account->owner = connection.owner.value;
    step.account->connection = step.reply->connection;
    step.account->rc = wire::from_manager(rc::kCanceled);
    me.queue.charge(connection.owner.value, kLeastCharge);
    return step;
  }
  me.answered_cancelled_last = false;
  if (!me.orders.empty() && (me.queue.size() == 0 || !me.ordered_last)) return me.go_on_with_order(now);
  me.ordered_last = false;
  if (auto step = me.serve_lines(now)) return std::move(*step);
  const bool backlog = me.manager.unwanted() > kUnwantedBacklog && !me.tidied_last && now >= me.not_before;
  if (me.queue.size() > 0 && !backlog) return me.run_next(now);
  Step step = me.idle(now);
  const auto look_again = [&](bool somebody_waits, Time at) {
    if (step.idle && somebody_waits && at != UINT64_MAX) step.wake = std::min(step.wake.value_or(at), at);
  };
  look_again(!me.line.empty(), me.look_at_line);  // a deadline may be endless
  look_again(!me.numbers.empty(), me.look_at_numbers);
  return step;
}

Step Engine::Impl::run_next(Time now) {
  const Ticket ticket = queue.pop()->item;
  if (const auto query = queries.extract(ticket)) return answer_query(query.mapped());
  return must_wait(ticket, now) ? Step{} : serve(ticket, now);
}

std::optional<Waiting> Engine::Impl::take_waiting(Ticket ticket) {
  Connection& connection = connections.at(tickets.at(ticket));
  tickets.erase(ticket);
  std::optional<Waiting> out = std::exchange(connection.waiting, std::nullopt);
  if (!gate.begin(ticket)) return std::nullopt;  // it was withdrawn
  return out;
}

Step Engine::Impl::serve(Ticket ticket, Time now, std::optional<Time> waited) {
  const ConnectionId id = tickets.at(ticket);
  Connection& connection = connections.at(id);
  const auto waiting = take_waiting(ticket);
  if (!waiting) return Step{};

  const Time began = clock();
  const space::SpaceLimits& limits = limits_of(connection);
  const auto tries_left = [&](const space::LockoutNews& news) {
    lockout.learn(news, clock());
    return lockout.tries_of(connection.owner, limits, clock());
  };
  auto outcome = manager.execute(connection.space, waiting->command, waiting->locality, clients, tries_left);
  const bool auth_failed = lockout.note(connection.owner, limits, outcome.failure, clock());
  if (gate.end())
    manager.undo(connection.space, outcome);
  else if (waited)
    manager.note_waited_for(connection.space, outcome);

  Step step;
  step.account = to_account(&connection, id, waiting->command.code(), outcome.code, std::move(outcome.cost));
  step.account->waited = waited;
  step.account->auth_failed = auth_failed;
  step.account->held = held_by(connection.space);
  step.account->stopped_for_lockout = outcome.stopped_for_lockout;
  step.account->kept_from_pin = outcome.kept_from_pin;
  if (const auto& saver = outcome.saved_by)
    step.account->saved_by = {saver->owner.value, saver->part.user, saver->part.connection};
  // Whose share is greater is charged less.
  queue.charge(connection.owner.value,
               std::max<std::uint64_t>(1, std::max(clock() - began, kLeastCharge) * kUsualShare / limits.share));
  step.reply = Reply{id, ticket, std::move(outcome.response)};
  if (step.account->tpm_lost) not_before = now + kLostPause;
  last_activity = now;
  tidied_last = false;
  return step;
}

observe::Held Engine::Impl::held_by(space::SpaceId space) const {
  const auto& books = manager.books();
  return {.objects = static_cast<std::uint32_t>(books.spaces.at(space).objects.size()),
          .sessions = sessions_of_space(books, space)};
}

Step Engine::Impl::idle(Time now) {
  tidied_last = true;
  Step step;
  step.idle = true;
  if (now < not_before) {
    step.wake = not_before;
    return step;
  }
  const std::size_t unwanted = manager.unwanted();
  if (auto cost = manager.tidy()) {
    // What could not be flushed is tried again later, not at once.
    if (unwanted > 0 && manager.unwanted() >= unwanted) not_before = now + kLostPause;
    if (cost->tpm_lost || cost->unpowered || manager.books().in_doubt) not_before = now + kLostPause;
    return account_only(std::move(*cost));
  }
  if (!manager.chip().has_other_users()) return step;
  if (manager.loaded() == 0) return step;
  if (now < last_activity + config.put_away_after) {
    step.wake = last_activity + config.put_away_after;
    return step;
  }
  const std::size_t loaded = manager.loaded();
  if (auto cost = manager.put_away()) {
    if (manager.loaded() >= loaded) not_before = now + kLostPause;
    if (cost->tpm_lost || cost->unpowered || manager.books().in_doubt) not_before = now + kLostPause;
    return account_only(std::move(*cost));
  }
  // What is loaded would not go; the next client command will meet the reason.
  not_before = now + kLostPause;
  return step;
}

Step Engine::Impl::account_only(space::Cost cost) {
  Step step;
  step.account = to_account(nullptr, 0, 0, 0, std::move(cost));
  return step;
}

observe::Account Engine::Impl::to_account(const Connection* connection, ConnectionId id, std::uint32_t code,
                                          wire::Rc rc, space::Cost cost) {
  lockout.learn(cost.lockout, clock());
  observe::Account account;
  account.owner = connection != nullptr ? connection->owner.value : 0;
  account.connection = id;
  account.client_code = code;
  account.rc = rc;
  account.tpm = std::move(cost.tpm);
  account.evictions = cost.evictions;
  account.parks = cost.parks;
  account.rebuilds = cost.rebuilds;
  account.reclaimed = std::move(cost.reclaimed);
  account.let_go = std::move(cost.let_go);
  account.tpm_was_reset = cost.tpm_was_reset;
  account.tpm_lost = cost.tpm_lost;
  return account;
}

Snapshot Engine::snapshot() const {
  const space::Books& books = impl_->manager.books();
  Snapshot out;
  out.connections = static_cast<std::uint32_t>(impl_->connections.size());
  out.waiting_for_session = static_cast<std::uint32_t>(impl_->waiting());
  out.queued = static_cast<std::uint32_t>(impl_->queue.size()) + out.waiting_for_session;
  out.objects = books.held.objects;
  out.bytes = books.held.bytes;
  out.objects_loaded = static_cast<std::uint32_t>(books.slots.size());
  out.sessions = static_cast<std::uint32_t>(books.sessions.size());
  out.sessions_parked = books.parked_in_all.sessions;
  out.bytes += books.parked_in_all.bytes;
  out.sessions_loaded = space::loaded_sessions(books);
  for (const auto& [number, session] : books.sessions) {
    out.sessions_client_saved += session.client_saved ? 1U : 0U;
    out.bytes += session.context.size();
  }
  return out;
}

Engine::HeldSessions Engine::held_sessions() const {
  const space::Books& books = impl_->manager.books();
  HeldSessions out{books.reset_count, books.restart_count, {}};
  for (const auto& [number, session] : books.sessions) out.handles.push_back(session.handle);
  for (const auto& unwanted : books.unwanted_sessions) out.handles.push_back(unwanted.handle);
  return out;
}

wire::Bytes Engine::save_books() const {
  return space::encode(impl_->manager.books());
}

bool Engine::restore_books(wire::ByteView image) {
  auto books = space::decode(image);
  if (!books || space::check(*books, impl_->manager.chip())) return false;
  impl_->connections.clear();
  for (const auto& [id, one] : books->spaces)
    impl_->connections.emplace(id.value, Connection{one.owner, id, std::nullopt});
  impl_->manager.restore(std::move(*books));
  return true;
}

std::optional<std::string> Engine::check() const {
  return space::check(impl_->manager.books(), impl_->manager.chip());
}

observe::Account Engine::flush_all(bool client_saved_too) {
  return impl_->to_account(nullptr, 0, 0, 0, impl_->manager.flush_all(client_saved_too));
}

}  // namespace tpmspace::engine
