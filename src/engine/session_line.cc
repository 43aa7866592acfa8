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

}  // namespace

// --- the line

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
  line_saw.reset();
}

void Engine::Impl::leave_line(Ticket ticket) {
  if (line.remove(ticket)) line_saw.reset();
}

std::optional<Step> Engine::Impl::serve_line(Time now) {
  if (line.empty()) return std::nullopt;
  if (const auto late = line.expired(now)) return end_waiting(*late, now);
  space::Bank bank = manager.session_book().bank();
  if (line_saw == bank && now < look_at_line) return std::nullopt;
  if (const auto next = line.next(manager.books(), manager.chip(), manager.session_book(), now)) {
    const Time waited = now - line.since(*next);
    line.served(*next, now);
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
  const Time waited = now - line.since(ticket);
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

// --- orders to take some

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
    // Its owner may have taken it up again meanwhile.
    if (found != sessions.end() && is_same(found->second, view) && selects(order.selection, view_of(found->second))) {
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

}  // namespace tpmspace::engine
