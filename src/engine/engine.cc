#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "engine/impl.h"
#include "wire/response.h"

namespace tpmspace::engine {

namespace rc = wire::rc;

namespace {

// With this many unwanted entities in the TPM, idle work is done even while clients wait.
constexpr std::size_t kUnwantedBacklog = 8;
constexpr Time kNever = UINT64_MAX;

}  // namespace

Engine::Engine(wire::Tpm& tpm, const wire::CommandTable& table, const space::Chip& chip, const Config& config,
               const std::function<Time()>& clock)
    : impl_(std::make_unique<Impl>(tpm, table, chip, config, clock)) {}
Engine::~Engine() = default;

Gate& Engine::gate() {
  return impl_->gate;
}

ConnectionId Engine::open(space::OwnerId owner, const space::SpaceLimits& limits) {
  // A connection has the number of its space, so restored books are enough to identify a connection.
  const space::SpaceId id = impl_->manager.open(owner, limits);
  impl_->connections.emplace(id.value, Connection{owner, id, std::nullopt});
  return id.value;
}

void Engine::set_limits(ConnectionId id, const space::SpaceLimits& limits) {
  const Time began = impl_->clock();
  const Connection& connection = impl_->connection_of(id);
  impl_->manager.set_limits(connection.space, limits);
  if (connection.waiting) {
    impl_->session_queue.set_terms(connection.waiting->ticket, impl_->limits_of(connection).terms);
    impl_->change_queue(connection.owner);
  }
  impl_->charge(connection.owner, began);
}

std::optional<ConnectionId> Engine::Impl::id_of(Ticket ticket) {
  const auto found = tickets.find(ticket);
  if (!TPMSPACE_HOLDS(found != tickets.end())) return std::nullopt;
  const Connection& connection = connection_of(found->second);
  if (TPMSPACE_HOLDS(connection.waiting && connection.waiting->ticket == ticket)) return found->second;
  tickets.erase(found);
  return std::nullopt;
}

Ticket Engine::Impl::expect(ConnectionId connection, std::variant<ClientCommand, Inherit> what, Time now) {
  Connection& to = connection_of(connection);
  if (!TPMSPACE_HOLDS(!to.waiting)) {
    queue.remove(to.owner.value, to.waiting->ticket);
    leave_queue(to.waiting->ticket);
    tickets.erase(to.waiting->ticket);
  }
  const Ticket ticket = ++last_ticket;
  to.waiting = Waiting{ticket, std::move(what)};
  tickets.emplace(ticket, connection);
  gate.expect(ticket);
  queue.push(to.owner.value, ticket, limits_of(to).priority);
  last_activity = now;
  return ticket;
}

Ticket Engine::submit(ConnectionId connection, wire::Command command, std::uint8_t locality, Time now,
                      std::uint64_t number) {
  return impl_->expect(connection, ClientCommand{std::move(command), locality, number}, now);
}

Ticket Engine::inherit(ConnectionId connection, ConnectionId from, std::uint64_t known, Time now) {
  return impl_->expect(connection, Inherit{space::SpaceId{from}, known}, now);
}

bool Engine::cancel(Ticket ticket) {
  const Time began = impl_->clock();
  const auto it = impl_->tickets.find(ticket);
  if (it == impl_->tickets.end()) return false;
  Connection& connection = impl_->connection_of(it->second);
  if (!connection.waiting || connection.waiting->cancelled) return false;
  const std::uint64_t owner = connection.owner.value;
  impl_->queue.remove(owner, ticket);
  impl_->leave_queue(ticket);
  if (impl_->gate.withdraw(ticket)) {
    connection.waiting->cancelled = true;
    impl_->queue.push_first(owner, ticket, impl_->limits_of(connection).priority);
  } else {
    connection.waiting.reset();
    impl_->tickets.erase(it);
    impl_->charge({owner}, began);
  }
  return true;
}

void Engine::close(ConnectionId id) {
  const Time began = impl_->clock();
  const auto it = impl_->connections.find(id);
  if (it == impl_->connections.end()) return;
  const space::OwnerId owner = it->second.owner;
  if (it->second.waiting) {
    const Ticket ticket = it->second.waiting->ticket;
    impl_->gate.withdraw(ticket);
    impl_->queue.remove(owner.value, ticket);
    impl_->leave_queue(ticket);
    impl_->tickets.erase(ticket);
  }
  impl_->manager.close(it->second.space);
  impl_->connections.erase(it);
  impl_->charge(owner, began);
}

Step Engine::step(Time now) {
  Impl& me = *impl_;
  const bool commands_wait = me.queue.size() > 0;
  if (auto step = me.agenda.pass(commands_wait, [&](Agenda::Work kind) { return me.do_work(kind, now); }))
    return std::move(*step);
  if (me.queue.size() > 0) return me.run_next(now);
  Step step = me.idle(now);
  const auto look_again = [&](bool somebody_waits, Time at) {
    if (step.idle && somebody_waits && at != UINT64_MAX) step.wake = std::min(step.wake.value_or(at), at);
  };
  look_again(!me.session_queue.empty(), me.look_at_sessions);  // a deadline may be endless
  look_again(!me.number_queue.empty(), me.look_at_numbers);
  return step;
}

std::optional<Step> Engine::Impl::do_work(Agenda::Work kind, Time now) {
  switch (kind) {
    case Agenda::Work::kOrders:
      return go_on_with_order(now);
    case Agenda::Work::kSleep:
      return put_away_for_sleep(now);
    case Agenda::Work::kSessionQueue:
      return serve_session_queue(now);
    case Agenda::Work::kNumberQueue:
      return serve_number_queue(now);
    case Agenda::Work::kBacklog:
      return tidy_backlog(now);
  }
  return std::nullopt;
}

std::optional<Step> Engine::Impl::tidy_backlog(Time now) {
  if (queue.size() == 0 || manager.unwanted() <= kUnwantedBacklog || now < not_before) return std::nullopt;
  Step step = idle(now);
  return step.idle ? std::nullopt : std::optional(std::move(step));
}

void Engine::Impl::charge(space::OwnerId owner, Time began) {
  queue.charge(owner.value, std::max(clock() - began, kLeastCharge));
}

Step Engine::Impl::run_next(Time now) {
  const Time began = clock();
  const auto turn = *queue.pop();
  if (const auto query = queries.extract(turn.item)) return answer_query(query.mapped());
  const Connection* connection = connection_with(turn.item);
  if (connection == nullptr) return Step{};
  if (connection->waiting->cancelled) return answer_cancelled(turn.item);
  if (!must_wait(turn.item, now)) return serve(turn.item, now);
  charge({turn.owner}, began);
  return Step{};
}

Step Engine::Impl::answer_cancelled(Ticket ticket) {
  constexpr wire::Rc kCanceled = wire::from_manager(rc::kCanceled);
  const auto id = id_of(ticket);
  if (!id) return Step{};
  Connection& connection = connection_of(*id);
  connection.waiting.reset();
  tickets.erase(ticket);
  Step step;
  step.reply = Reply{*id, ticket, wire::error_response(kCanceled)};
  step.account = to_account(&connection, *id, 0, kCanceled, {});
  queue.charge(connection.owner.value, kLeastCharge);
  return step;
}

std::optional<Waiting> Engine::Impl::take_waiting(Ticket ticket) {
  Connection* connection = connection_with(ticket);
  if (connection == nullptr) return std::nullopt;
  tickets.erase(ticket);
  std::optional<Waiting> out = std::exchange(connection->waiting, std::nullopt);
  if (!gate.begin(ticket)) return std::nullopt;  // the command was withdrawn
  return out;
}

Step Engine::Impl::serve(Ticket ticket, Time now, std::optional<Time> waited) {
  const auto id = id_of(ticket);
  const auto waiting = id ? take_waiting(ticket) : std::nullopt;
  if (!waiting) return Step{};
  const auto* inherits = std::get_if<Inherit>(&waiting->what);
  Step step = inherits != nullptr ? serve_inherit(*id, ticket, *inherits)
                                  : serve_command(*id, ticket, std::get<ClientCommand>(waiting->what), waited);
  if (step.account->tpm_lost) not_before = now + kLostPause;
  last_activity = now;
  return step;
}

// A larger share makes the same time cheaper.
void Engine::Impl::charge_turn(const Connection& connection, Time began, Time of_others) {
  const Time spent = clock() - began;
  const Time own_time = std::max(spent - std::min(spent, of_others), kLeastCharge);
  queue.charge(connection.owner.value,
               std::max<std::uint64_t>(1, own_time * kUsualShare / limits_of(connection).share));
}

Step Engine::Impl::serve_inherit(ConnectionId id, Ticket ticket, const Inherit& what) {
  const Connection& connection = connection_of(id);
  const Time began = clock();
  wire::Rc code = rc::kValue;
  space::Cost cost;
  const auto parent = manager.books().spaces.find(what.from);
  if (parent != manager.books().spaces.end()) cost = manager.inherit(connection.space, what.from, what.known, code);
  (void)gate.end();  // the connection of an abandoned request is closed next
  if (code != rc::kSuccess) code = wire::from_manager(code);
  Step step;
  step.account = to_account(&connection, id, 0, code, std::move(cost));
  step.account->held = held_by(connection.space);
  charge_turn(connection, began);
  step.reply = Reply{id, ticket, code == rc::kSuccess ? wire::success_response({}) : wire::error_response(code)};
  return step;
}

Step Engine::Impl::serve_command(ConnectionId id, Ticket ticket, const ClientCommand& what,
                                 std::optional<Time> waited) {
  const Connection& connection = connection_of(id);
  const Time began = clock();
  const space::SpaceLimits& limits = limits_of(connection);
  const auto tries_left = [&](const space::LockoutNews& news) {
    lockout.learn(news, clock());
    return lockout.tries_of(connection.owner, limits, clock());
  };
  auto outcome = manager.execute(connection.space, what.command, what.locality, clients, tries_left);
  manager.note_number(connection.space, outcome, what.number);
  const bool auth_failed = lockout.note(connection.owner, limits, outcome.failure, clock());
  if (gate.end())
    manager.undo(connection.space, outcome);
  else if (waited)
    manager.note_waited_for(connection.space, outcome);

  // Other owners are charged for entities that they left behind (to_account).
  std::uint64_t of_others = 0;
  for (const auto& [owner, nanoseconds] : outcome.cost.owed) of_others += nanoseconds;

  Step step;
  step.account = to_account(&connection, id, what.command.code(), outcome.code, std::move(outcome.cost));
  step.account->waited = waited;
  step.account->auth_failed = auth_failed;
  step.account->held = held_by(connection.space);
  step.account->stopped_for_lockout = outcome.stopped_for_lockout;
  if (outcome.stopped_for_lockout) {
    step.account->stopped_by_own_share = lockout.is_out_of_own_share(connection.owner, limits, clock());
    step.account->lockout_interval = lockout.interval();
  }
  step.account->kept_from_pin = outcome.kept_from_pin;
  if (const auto& saver = outcome.saved_by)
    step.account->saved_by = {saver->owner.value, saver->part.user, saver->part.connection};
  charge_turn(connection, began, of_others);
  step.reply = Reply{id, ticket, std::move(outcome.response)};
  return step;
}

observe::Held Engine::Impl::held_by(space::SpaceId space) const {
  const auto& books = manager.books();
  return {.objects = static_cast<std::uint32_t>(space::space_of(books, space).objects.size()),
          .sessions = sessions_of_space(books, space)};
}

Step Engine::Impl::idle(Time now) {
  Step step;
  step.idle = true;
  if (now < not_before) {
    step.wake = not_before;
    return step;
  }
  const std::size_t unwanted = manager.unwanted();
  if (auto cost = manager.tidy())
    return did_idle_work(std::move(*cost), unwanted == 0 || manager.unwanted() < unwanted, now);
  if (auto saved = save_unused(now, step.wake)) return std::move(*saved);
  if ((!manager.chip().has_other_users() && !asleep) || manager.loaded() == 0) return step;
  const bool never = config.put_away_after == kNever;
  const Time at = asleep ? now : never ? kNever : last_activity + config.put_away_after;
  if (now < at) {
    if (at != kNever) step.wake = std::min(step.wake.value_or(at), at);
    return step;
  }
  if (auto done = put_away(now)) return std::move(*done);
  // Loaded entities cannot be evicted now; the next client command will meet the reason.
  not_before = now + kLostPause;
  return step;
}

// `wake`: when an entity becomes due for saving.
std::optional<Step> Engine::Impl::save_unused(Time now, std::optional<Time>& wake) {
  if (!manager.chip().can_be_suspended) return std::nullopt;
  const auto next = manager.next_unused();
  auto cost = manager.save_unused({config.save_objects_after, config.save_sessions_after});
  if (cost) {
    const auto after = manager.next_unused();
    return did_idle_work(std::move(*cost), after.object != next.object || after.session != next.session, now);
  }
  const auto look_again = [&](std::optional<Time> used, Time span) {
    if (used && span != kNever) wake = std::min(wake.value_or(kNever), *used + span);
  };
  look_again(next.object, config.save_objects_after);
  look_again(next.session, config.save_sessions_after);
  return std::nullopt;
}

std::optional<Step> Engine::Impl::put_away(Time now) {
  const std::size_t loaded = manager.loaded();
  auto cost = manager.put_away();
  if (!cost) return std::nullopt;
  return did_idle_work(std::move(*cost), manager.loaded() < loaded, now);
}

// Entities that cannot be evicted stay.
std::optional<Step> Engine::Impl::put_away_for_sleep(Time now) {
  if (!falls_asleep) return std::nullopt;
  std::optional<Step> step = manager.loaded() > 0 && now >= not_before ? put_away(now) : std::nullopt;
  if (step && now >= not_before) return step;
  falls_asleep = false;
  if (!step) step.emplace();
  step->away = true;
  return step;
}

// Failed work is tried again later, not at once.
Step Engine::Impl::did_idle_work(space::Cost cost, bool done, Time now) {
  if (!done || cost.tpm_lost || cost.unpowered || manager.books().in_doubt) not_before = now + kLostPause;
  return account_only(std::move(cost));
}

void Engine::prepare_for_sleep() {
  impl_->asleep = impl_->falls_asleep = true;
}

void Engine::wake_up() {
  impl_->asleep = impl_->falls_asleep = false;
  if (impl_->manager.chip().can_be_suspended) impl_->manager.doubt();
}

Step Engine::Impl::account_only(space::Cost cost) {
  Step step;
  step.account = to_account(nullptr, 0, 0, 0, std::move(cost));
  return step;
}

observe::Account Engine::Impl::to_account(const Connection* connection, ConnectionId id, std::uint32_t code,
                                          wire::Rc rc, space::Cost cost) {
  lockout.learn(cost.lockout, clock());
  for (const auto& [owner, nanoseconds] : cost.owed) queue.charge(owner.value, nanoseconds);
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
  account.restarted = cost.restarted;
  account.lost_objects = cost.lost_objects;
  account.lost_sessions = cost.lost_sessions;
  account.tpm_lost = cost.tpm_lost;
  account.broken = cost.broken;
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
