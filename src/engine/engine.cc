#include "engine/engine.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "engine/watched_tpm.h"
#include "queue/fair_queue.h"
#include "space/manager.h"
#include "space/waiting_line.h"
#include "wire/response.h"

namespace tpmspace::engine {

namespace rc = wire::rc;

namespace {

// With so much that nobody wants in the TPM, every other step tidies up even while clients wait.
constexpr std::size_t kUnwantedBacklog = 8;
// What a turn costs at least, in nanoseconds: a command that we answer ourselves takes no TPM time, but takes a turn.
constexpr std::uint64_t kLeastCharge = 20'000;
// A TPM whose back end is gone, or that makes no sense, is tried again no sooner than this (idle work only; clients
// always get an answer).
constexpr Time kLostPause = 1'000'000'000;

struct Waiting {
  Ticket ticket = 0;
  wire::Command command;
  std::uint8_t locality = 0;
};

struct Connection {
  space::OwnerId owner;
  space::SpaceId space;
  std::optional<Waiting> waiting;
};

// An administrator's order to flush, under way.
struct FlushOrder {
  SessionSelection selection;
  bool begun = false;
  std::vector<SessionView> to_take;  // of those that were there when it began; from the back
  Flushed done;
};

// Still the same one, whatever happened to it since.
bool is_same(const space::Session& session, const SessionView& view) {
  return session.owner == view.owner && session.started_at == view.started_at;
}

}  // namespace

struct Engine::Impl {
  Impl(wire::Tpm& tpm, const wire::CommandTable& table, const space::Chip& chip, const Config& settings,
       const std::function<Time()>& now_of)
      : config(settings),
        clock(now_of),
        gate(tpm),
        own(tpm, table, gate, false),
        clients(tpm, table, gate, true),
        manager(own, table, chip, space::Quota{settings.max_bytes, settings.client_saved_sessions_per_owner}, now_of) {}

  Step run_next(Time now);
  // The client's command, in its connection's name.
  // `waited`: for a session.
  Step serve(Ticket ticket, Time now, std::optional<Time> waited = std::nullopt);
  bool must_wait_for_session(const Connection& connection) const;
  void wait_for_session(Ticket ticket, Time now);
  // Something for those that wait for a session; nullopt: nothing can be done before `look_at_line`.
  std::optional<Step> serve_line(Time now);
  void leave_line(Ticket ticket);
  Step end_waiting(Ticket ticket, Time now);
  // The next session of the first order.
  Step go_on_flushing(Time now);
  std::optional<Waiting> take_waiting(Ticket ticket);
  Step idle(Time now);
  Step account_only(space::Cost cost) const;
  observe::Account to_account(const Connection* connection, ConnectionId id, std::uint32_t code, wire::Rc rc,
                              space::Cost cost) const;

  Config config;
  std::function<Time()> clock;
  Gate gate;
  WatchedTpm own, clients;
  space::Manager manager;
  queue::FairQueue queue;
  std::map<ConnectionId, Connection> connections;
  std::map<Ticket, ConnectionId> tickets;  // of waiting commands, in the queue or in the line
  space::WaitingLine line;                 // for a session
  std::map<Ticket, Time> in_line_since;
  std::optional<space::Bank> line_saw;  // what the bank was when nobody in the line could be helped
  Time look_at_line = 0;
  std::deque<Reply> cancelled;
  std::deque<FlushOrder> flush_orders;
  Ticket last_ticket = 0;
  Time last_activity = 0;
  Time not_before = 0;  // idle work, after the back end was lost
  bool tidied_last = false;
  bool answered_cancelled_last = false;  // whoever waits has every other step
  bool flushed_last = false;             // likewise
};

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
  impl_->queue.push(to.owner.value, ticket);
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
  if (!me.flush_orders.empty() && (me.queue.size() == 0 || !me.flushed_last)) return me.go_on_flushing(now);
  me.flushed_last = false;
  if (auto step = me.serve_line(now)) return std::move(*step);
  const bool backlog = me.manager.unwanted() > kUnwantedBacklog && !me.tidied_last && now >= me.not_before;
  if (me.queue.size() > 0 && !backlog) return me.run_next(now);
  Step step = me.idle(now);
  if (step.idle && !me.line.empty()) step.wake = std::min(step.wake.value_or(me.look_at_line), me.look_at_line);
  return step;
}

void Engine::flush_sessions(std::uint64_t order, SessionSelection selection) {
  impl_->flush_orders.push_back(
      FlushOrder{.selection = std::move(selection), .begun = false, .to_take = {}, .done = {order, {}}});
}

Step Engine::Impl::go_on_flushing(Time now) {
  flushed_last = true;
  FlushOrder& order = flush_orders.front();
  const auto& sessions = manager.books().sessions;
  if (!std::exchange(order.begun, true))
    for (const auto& [number, session] : sessions)
      if (const SessionView view = view_of(session); selects(order.selection, view)) order.to_take.push_back(view);
  Step step;
  if (!order.to_take.empty()) {
    const SessionView view = order.to_take.back();
    order.to_take.pop_back();
    const std::uint32_t number = wire::number_of(view.handle);
    const auto found = sessions.find(number);
    if (found != sessions.end() && is_same(found->second, view)) {
      order.done.sessions.push_back(view_of(found->second));
      step = account_only(manager.take_session(number));
      if (step.account->tpm_lost) not_before = now + kLostPause;
    }
  }
  if (order.to_take.empty()) {
    std::reverse(order.done.sessions.begin(), order.done.sessions.end());
    step.flushed = std::move(order.done);
    flush_orders.pop_front();
  }
  return step;
}

Step Engine::Impl::run_next(Time now) {
  const Ticket ticket = queue.pop()->item;
  const Connection& connection = connections.at(tickets.at(ticket));
  const bool wants_session = connection.waiting->command.row().creates == wire::Creates::kSession;
  if (!wants_session || !must_wait_for_session(connection)) return serve(ticket, now);
  wait_for_session(ticket, now);
  return Step{};
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
  auto outcome = manager.execute(connection.space, waiting->command, waiting->locality, clients);
  if (gate.end())
    manager.undo(connection.space, outcome);
  else if (waited)
    manager.note_waited_for(outcome);

  Step step;
  step.account = to_account(&connection, id, waiting->command.code(), outcome.code, std::move(outcome.cost));
  step.account->waited = waited;
  queue.charge(connection.owner.value, std::max(clock() - began, kLeastCharge));
  step.reply = Reply{id, ticket, std::move(outcome.response)};
  if (step.account->tpm_lost) not_before = now + kLostPause;
  last_activity = now;
  tidied_last = false;
  return step;
}

// --- those that wait for a session

bool Engine::Impl::must_wait_for_session(const Connection& connection) const {
  using space::SessionBook;
  const auto& terms = manager.books().spaces.at(connection.space).limits.terms;
  if (terms.exhaustion == space::Exhaustion::kRefuse) return false;  // the manager refuses what it cannot have
  const auto admission = manager.session_book().admission(connection.space);
  if (admission == SessionBook::Admission::kNever) return false;
  return admission == SessionBook::Admission::kNotNow || !line.empty();
}

void Engine::Impl::wait_for_session(Ticket ticket, Time now) {
  const Connection& connection = connections.at(tickets.at(ticket));
  const auto& terms = manager.books().spaces.at(connection.space).limits.terms;
  line.add({.id = ticket,
            .waiter = {.space = connection.space, .owner = connection.owner, .since = now},
            .deadline = terms.deadline > UINT64_MAX - now ? UINT64_MAX : now + terms.deadline,
            .may_take = terms.exhaustion == space::Exhaustion::kReclaim});
  in_line_since[ticket] = now;
  line_saw.reset();
}

void Engine::Impl::leave_line(Ticket ticket) {
  if (!line.remove(ticket)) return;
  in_line_since.erase(ticket);
  line_saw.reset();
}

std::optional<Step> Engine::Impl::serve_line(Time now) {
  if (line.empty()) return std::nullopt;
  if (const auto late = line.expired(now)) return end_waiting(*late, now);
  space::Bank bank = manager.session_book().bank();
  if (line_saw == bank && now < look_at_line) return std::nullopt;
  if (const auto next = line.next(manager.books(), manager.chip(), manager.session_book(), now)) {
    const Time waited = now - in_line_since.at(*next);
    line.served(*next, now);
    in_line_since.erase(*next);
    line_saw.reset();
    return serve(*next, now, waited);
  }
  const auto taking = line.taking(manager.books(), manager.chip(), now);
  if (taking.number && now >= not_before) {
    line_saw.reset();
    Step step = account_only(manager.take_session(*taking.number));
    if (step.account->tpm_lost) not_before = now + kLostPause;
    return step;
  }
  line_saw = std::move(bank);
  look_at_line = taking.number ? not_before : taking.at.value_or(UINT64_MAX);
  return std::nullopt;
}

// Its deadline has passed.
Step Engine::Impl::end_waiting(Ticket ticket, Time now) {
  const ConnectionId id = tickets.at(ticket);
  const Connection& connection = connections.at(id);
  const Time waited = now - in_line_since.at(ticket);
  leave_line(ticket);
  const auto waiting = take_waiting(ticket);
  if (!waiting) return Step{};
  gate.end();
  if (manager.books().spaces.at(connection.space).limits.terms.exhaustion == space::Exhaustion::kClose)
    manager.give_up(connection.space);
  constexpr wire::Rc kExhausted = wire::from_manager(rc::kSessionHandles);
  Step step;
  step.account = to_account(&connection, id, waiting->command.code(), kExhausted, {});
  step.account->waited = waited;
  step.reply = Reply{id, ticket, wire::error_response(kExhausted)};
  return step;
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
  if (manager.chip().keep_free_objects == 0 && manager.chip().keep_free_sessions == 0) return step;
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

Step Engine::Impl::account_only(space::Cost cost) const {
  Step step;
  step.account = to_account(nullptr, 0, 0, 0, std::move(cost));
  return step;
}

observe::Account Engine::Impl::to_account(const Connection* connection, ConnectionId id, std::uint32_t code,
                                          wire::Rc rc, space::Cost cost) const {
  observe::Account account;
  account.owner = connection != nullptr ? connection->owner.value : 0;
  account.connection = id;
  account.client_code = code;
  account.rc = rc;
  account.tpm = std::move(cost.tpm);
  account.evictions = cost.evictions;
  account.reclaimed = std::move(cost.reclaimed);
  account.tpm_was_reset = cost.tpm_was_reset;
  account.tpm_lost = cost.tpm_lost;
  return account;
}

Snapshot Engine::snapshot() const {
  const space::Books& books = impl_->manager.books();
  Snapshot out;
  out.connections = static_cast<std::uint32_t>(impl_->connections.size());
  out.waiting_for_session = static_cast<std::uint32_t>(impl_->line.size());
  out.queued = static_cast<std::uint32_t>(impl_->queue.size()) + out.waiting_for_session;
  out.objects = books.held.objects;
  out.bytes = books.held.bytes;
  out.objects_loaded = static_cast<std::uint32_t>(books.slots.size());
  out.sessions = static_cast<std::uint32_t>(books.sessions.size());
  out.sessions_loaded = space::loaded_sessions(books);
  for (const auto& [number, session] : books.sessions) {
    out.sessions_client_saved += session.client_saved ? 1U : 0U;
    out.bytes += session.context.size();
  }
  return out;
}

Engine::HeldSessions Engine::held_sessions() const {
  const space::Books& books = impl_->manager.books();
  HeldSessions out{books.reset_count, {}};
  for (const auto& [number, session] : books.sessions) out.handles.push_back(session.handle);
  for (const auto& unwanted : books.unwanted_sessions) out.handles.push_back(unwanted.handle);
  return out;
}

SessionList Engine::sessions() const {
  SessionList out;
  const auto& books = impl_->manager.books();
  out.sessions.reserve(books.sessions.size());
  for (const auto& [number, session] : books.sessions) out.sessions.push_back(view_of(session));
  for (const auto& guest : impl_->line.guests()) {
    if (out.waiting.size() == SessionList::kMaxWaiting) break;
    out.waiting.push_back({.owner = guest.waiter.owner,
                           .connection = guest.waiter.space.value,
                           .since = guest.waiter.since,
                           .deadline = guest.deadline});
  }
  out.more_waiting = static_cast<std::uint32_t>(impl_->line.size() - out.waiting.size());
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
