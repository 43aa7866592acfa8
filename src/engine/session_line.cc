// Those that wait for a session, and an administrator's orders to take some.
#include <algorithm>
#include <utility>

#include "engine/impl.h"
#include "wire/response.h"

namespace tpmspace::engine {

namespace rc = wire::rc;

namespace {

// Still the same one, whatever happened to it since.
bool is_same(const space::Session& session, const SessionView& view) {
  return session.owner == view.owner && session.started_at == view.started_at;
}

// What several parts of one step cost.
space::Cost merged(std::optional<space::Cost> one, space::Cost other) {
  if (!one) return other;
  one->tpm.insert(one->tpm.end(), other.tpm.begin(), other.tpm.end());
  one->reclaimed.insert(one->reclaimed.end(), other.reclaimed.begin(), other.reclaimed.end());
  one->evictions += other.evictions;
  one->parks += other.parks;
  one->rebuilds += other.rebuilds;
  one->tpm_was_reset |= other.tpm_was_reset;
  one->tpm_lost |= other.tpm_lost;
  return std::move(*one);
}

}  // namespace

// --- the lines

bool Engine::Impl::must_wait(Ticket ticket, Time now) {
  using space::SessionBook;
  const Connection& connection = connections.at(tickets.at(ticket));
  const wire::Command& command = connection.waiting->command;
  const auto wish = manager.wish_of(connection.space, command);
  if (wish.want == SessionBook::Want::kNothing) return false;
  const auto& terms = manager.books().spaces.at(connection.space).limits.terms;
  // The manager refuses what it cannot have.
  if (terms.exhaustion == space::Exhaustion::kRefuse) return false;
  const auto admission =
      wish.number ? SessionBook::Admission::kNow : manager.session_book().admission(connection.space, command);
  if (admission == SessionBook::Admission::kNever) return false;
  const Time deadline = terms.deadline > UINT64_MAX - now ? UINT64_MAX : now + terms.deadline;
  if (wish.want == SessionBook::Want::kNumber) {
    const auto at = manager.session_book().number_at(now, wish.number);
    if (at && *at <= now && (wish.number || numbers.empty())) return false;
    numbers.add({.id = ticket,
                 .space = connection.space,
                 .owner = connection.owner,
                 .since = now,
                 .deadline = deadline,
                 .number = wish.number});
  } else {
    if (admission == SessionBook::Admission::kNow && line.empty()) return false;
    line.add({.id = ticket,
              .waiter = {.space = connection.space, .owner = connection.owner, .since = now},
              .deadline = deadline,
              .may_take = terms.exhaustion == space::Exhaustion::kReclaim});
    line_saw.reset();
  }
  manager.await(connection.space, command, true);
  return true;
}

void Engine::Impl::leave_line(Ticket ticket) {
  const bool waited_here = line.remove(ticket);
  if (waited_here) line_saw.reset();
  if (!numbers.remove(ticket) && !waited_here) return;
  const Connection& connection = connections.at(tickets.at(ticket));
  manager.await(connection.space, connection.waiting->command, false);
}

Time Engine::Impl::waits_since(Ticket ticket) const {
  const auto* guest = numbers.find(ticket);
  return guest != nullptr ? guest->since : line.since(ticket);
}

std::optional<Step> Engine::Impl::serve_lines(Time now) {
  if (auto step = serve_session_line(now)) return step;
  return serve_number_line(now);
}

std::optional<Step> Engine::Impl::serve_session_line(Time now) {
  if (line.empty()) return std::nullopt;
  if (const auto late = line.expired(now)) return end_waiting(*late, now);
  space::Bank bank = manager.session_book().bank();
  if (line_saw == bank && now < look_at_line) return std::nullopt;
  if (const auto next = line.next(manager.books(), manager.chip(), manager.session_book(), now)) {
    const Time waited = now - line.since(*next);
    line.served(*next, now);
    line_saw.reset();
    const Connection& connection = connections.at(tickets.at(*next));
    manager.await(connection.space, connection.waiting->command, false);
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

// One in a step, and every other step is somebody else's: those that were served go on, so that nobody notices when
// their sessions leave.
std::optional<Step> Engine::Impl::serve_number_line(Time now) {
  if (numbers.empty()) return std::nullopt;
  if (const auto late = numbers.expired(now)) return end_waiting(*late, now);
  const auto next = numbers.next(manager.session_book(), now);
  look_at_numbers = numbers.look_again(manager.session_book());
  if (!next || (queue.size() > 0 && std::exchange(served_number_last, !served_number_last))) return std::nullopt;
  const Time waited = now - numbers.find(*next)->since;
  numbers.served(*next);
  const Connection& connection = connections.at(tickets.at(*next));
  manager.await(connection.space, connection.waiting->command, false);
  return serve(*next, now, waited);
}

// Its deadline has passed.
Step Engine::Impl::end_waiting(Ticket ticket, Time now) {
  const ConnectionId id = tickets.at(ticket);
  const Connection& connection = connections.at(id);
  const Time waited = now - waits_since(ticket);
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

// --- an administrator's orders

void Engine::order_sessions(std::uint64_t order, SessionOrder what) {
  OrderUnderWay under_way;
  under_way.what = std::move(what);
  under_way.done.order = order;
  impl_->orders.push_back(std::move(under_way));
}

Step Engine::Impl::go_on_with_order(Time now) {
  ordered_last = true;
  OrderUnderWay& order = orders.front();
  const auto* which = std::get_if<ReserveSession>(&order.what);
  Step step = which != nullptr ? reserve(order, *which) : go_on_flushing(order);
  if (step.account && step.account->tpm_lost) not_before = now + kLostPause;
  if (order.to_take.empty()) {
    std::reverse(order.done.sessions.begin(), order.done.sessions.end());
    step.order_done = std::move(order.done);
    orders.pop_front();
  }
  return step;
}

// Those that are parked go at once: the TPM has nothing to do with them.
void Engine::Impl::begin_flushing(OrderUnderWay& order, std::optional<space::Cost>& cost) {
  const space::Books& books = manager.books();
  for (const auto& [number, session] : books.sessions)
    if (const SessionView view = view_of(session); selects(order.what, view)) order.to_take.push_back(view);
  std::vector<space::ParkedKey> parked;
  for (const auto& [key, session] : books.parked)
    if (selects(order.what, view_of(session, true))) parked.push_back(key);
  std::vector<space::ContextDigest> files;
  for (const auto& [copy, session] : books.parked_files)
    if (selects(order.what, view_of(session, true))) files.push_back(copy);
  const auto tell = [&](const space::Session& session) {
    if (order.done.sessions.size() < SessionList::kMaxParked) order.done.sessions.push_back(view_of(session, true));
  };
  for (const auto& key : parked) {
    tell(books.parked.at(key));
    cost = merged(std::move(cost), manager.take_parked_session(key));
  }
  for (const auto& copy : files) {
    tell(books.parked_files.at(copy));
    cost = merged(std::move(cost), manager.take_parked_file(copy));
  }
}

Step Engine::Impl::go_on_flushing(OrderUnderWay& order) {
  const auto& sessions = manager.books().sessions;
  std::optional<space::Cost> cost;
  if (!std::exchange(order.begun, true)) begin_flushing(order, cost);
  if (!order.to_take.empty()) {
    const SessionView view = order.to_take.back();
    order.to_take.pop_back();
    const std::uint32_t number = wire::number_of(view.handle);
    const auto found = sessions.find(number);
    // Its owner may have taken it up again meanwhile.
    if (found != sessions.end() && is_same(found->second, view) && selects(order.what, view_of(found->second))) {
      order.done.sessions.push_back(view_of(found->second));
      cost = merged(std::move(cost), manager.take_session(number));
    }
  }
  return cost ? account_only(std::move(*cost)) : Step{};
}

Step Engine::Impl::reserve(OrderUnderWay& order, const ReserveSession& which) {
  const std::uint32_t number = wire::number_of(which.handle);
  Step step = account_only(manager.reserve_session(number, which.reserved, order.done.code));
  const auto found = manager.books().sessions.find(number);
  if (order.done.code == 0 && found != manager.books().sessions.end())
    order.done.sessions.push_back(view_of(found->second));
  return step;
}

SessionList Engine::sessions() const {
  SessionList out;
  const auto& books = impl_->manager.books();
  out.sessions.reserve(books.sessions.size());
  for (const auto& [number, session] : books.sessions) out.sessions.push_back(view_of(session));
  std::size_t named = 0;
  const auto add_parked = [&](const space::Session& session) {
    if (named++ < SessionList::kMaxParked) out.sessions.push_back(view_of(session, true));
  };
  for (const auto& [key, session] : books.parked) add_parked(session);
  for (const auto& [copy, session] : books.parked_files) add_parked(session);
  out.more_parked = static_cast<std::uint32_t>(named - std::min(named, SessionList::kMaxParked));
  const auto add_waiting = [&](space::OwnerId owner, space::SpaceId space, Time since, Time deadline) {
    if (out.waiting.size() < SessionList::kMaxWaiting)
      out.waiting.push_back({.owner = owner, .connection = space.value, .since = since, .deadline = deadline});
  };
  for (const auto& guest : impl_->line.guests())
    add_waiting(guest.waiter.owner, guest.waiter.space, guest.waiter.since, guest.deadline);
  for (const auto& guest : impl_->numbers.guests()) add_waiting(guest.owner, guest.space, guest.since, guest.deadline);
  out.more_waiting = static_cast<std::uint32_t>(impl_->waiting() - out.waiting.size());
  return out;
}

}  // namespace tpmspace::engine
