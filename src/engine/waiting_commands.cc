// Commands that wait for a session or a number.
#include <algorithm>
#include <utility>

#include "books/time.h"
#include "engine/impl.h"
#include "wire/response.h"

namespace tpmspace::engine {

namespace rc = wire::rc;

bool Engine::Impl::must_wait(Ticket ticket, Time now) {
  using space::SessionBook;
  const Connection* waits = connection_with(ticket);
  if (waits == nullptr || waits->waiting->command() == nullptr) return false;
  const Connection& connection = *waits;
  const wire::Command& command = *connection.waiting->command();
  manager.expire_kept_places(now);
  const auto wish = manager.wish_of(connection.space, command);
  if (wish.want == SessionBook::Want::kNothing) return false;
  const auto& terms = limits_of(connection).terms;
  // The manager refuses an impossible request.
  if (terms.exhaustion == space::Exhaustion::kRefuse) return false;
  const auto admission =
      wish.number ? SessionBook::Admission::kNow : manager.session_book().admission(connection.space, command);
  if (admission == SessionBook::Admission::kNever) return false;
  const Time deadline = space::after(now, terms.deadline);
  if (wish.want == SessionBook::Want::kNumber) {
    const auto at = manager.session_book().number_at(now, connection.owner, wish.number);
    if (at && *at <= now && (wish.number || number_queue.empty())) return false;
    number_queue.add({.id = ticket,
                      .space = connection.space,
                      .owner = connection.owner,
                      .since = now,
                      .deadline = deadline,
                      .number = wish.number});
  } else {
    if (admission == SessionBook::Admission::kNow && session_queue.empty()) return false;
    session_queue.add({.id = ticket,
                       .waiter = {.space = connection.space, .owner = connection.owner, .since = now},
                       .deadline = deadline,
                       .may_take = terms.exhaustion == space::Exhaustion::kReclaim,
                       .claim = terms.claim,
                       .tenure = terms.tenure});
    change_queue(connection.owner);
  }
  manager.await(connection.space, command, true);
  return true;
}

void Engine::Impl::change_queue(space::OwnerId by) {
  last_bank.reset();
  line_changed_by = by;
}

void Engine::Impl::leave_queue(Ticket ticket) {
  const bool for_session = session_queue.remove(ticket), for_number = number_queue.remove(ticket);
  const Connection* connection = connection_with(ticket);
  if (connection == nullptr) return;
  if (for_session) change_queue(connection->owner);
  if (for_session || for_number) end_await(*connection);
}

// The command leaves its queue.
void Engine::Impl::end_await(const Connection& connection) {
  const wire::Command* command = connection.waiting ? connection.waiting->command() : nullptr;
  if (TPMSPACE_HOLDS(command != nullptr)) manager.await(connection.space, *command, false);
}

std::optional<Time> Engine::Impl::waits_since(Ticket ticket) const {
  const auto* guest = number_queue.queue().find(ticket);
  if (guest == nullptr) guest = session_queue.queue().find(ticket);
  return guest == nullptr ? std::nullopt : std::optional(guest->since);
}

std::optional<Step> Engine::Impl::serve_session_queue(Time now) {
  if (session_queue.empty()) return std::nullopt;
  if (const auto late = session_queue.expired(now)) return end_waiting(*late, now);
  manager.expire_kept_places(now);
  while (const auto owner = session_queue.keeps_too_many(manager.books(), manager.chip()))
    manager.release_kept_place(*owner);
  space::Bank bank = manager.session_book().bank();
  if (last_bank == bank && now < look_at_sessions) return std::nullopt;
  const Time began = clock();
  const auto next = session_queue.next(manager.books(), manager.chip(), manager.session_book(), now);
  space::Taking taking;
  if (!next) taking = session_queue.taking(manager.books(), manager.chip(), now);
  if (const auto by = std::exchange(line_changed_by, std::nullopt)) charge(*by, began);
  if (next) {
    const Time waited = now - waits_since(*next).value_or(now);
    session_queue.served(*next, now);
    const Connection* connection = connection_with(*next);
    if (connection == nullptr) return Step{};
    change_queue(connection->owner);
    end_await(*connection);
    return serve(*next, now, waited);
  }
  if (taking.number && now >= not_before) return take_for_queue(taking, now);
  last_bank = std::move(bank);
  look_at_sessions = taking.number ? not_before : taking.at.value_or(UINT64_MAX);
  return std::nullopt;
}

// The waiting owner pays.
Step Engine::Impl::take_for_queue(const space::Taking& taking, Time now) {
  const Time began = clock();
  Step step = account_only(manager.take_session(*taking.number, taking.by));
  if (step.account->tpm_lost) not_before = now + kLostPause;
  change_queue({taking.by.waiter});
  charge({taking.by.waiter}, began);
  return step;
}

// Before the next command, served commands run on, so that no client notices when their sessions leave.
std::optional<Step> Engine::Impl::serve_number_queue(Time now) {
  if (number_queue.empty()) return std::nullopt;
  if (const auto late = number_queue.expired(now)) return end_waiting(*late, now);
  const auto next = number_queue.next(manager.session_book(), now);
  look_at_numbers = number_queue.look_again(manager.session_book());
  if (!next) return std::nullopt;
  const Time waited = now - waits_since(*next).value_or(now);
  number_queue.served(*next, now);
  const Connection* connection = connection_with(*next);
  if (connection == nullptr || connection->waiting->command() == nullptr) return Step{};
  end_await(*connection);
  // The owner's room for rebuildable sessions may be full by now: then the command waits for an ordinary session.
  const auto wish = manager.wish_of(connection->space, *connection->waiting->command());
  if (wish.want == space::SessionBook::Want::kOrdinary && must_wait(*next, now)) return Step{};
  return serve(*next, now, waited);
}

// Ends a wait whose deadline has passed.
Step Engine::Impl::end_waiting(Ticket ticket, Time now) {
  const auto id = id_of(ticket);
  const Time waited = now - waits_since(ticket).value_or(now);
  leave_queue(ticket);
  if (!id) return Step{};
  const Connection& connection = connection_of(*id);
  queue.charge(connection.owner.value, kLeastCharge);
  const auto waiting = take_waiting(ticket);
  if (!waiting) return Step{};
  gate.end();
  if (limits_of(connection).terms.exhaustion == space::Exhaustion::kClose) manager.give_up(connection.space);
  constexpr wire::Rc kExhausted = wire::from_manager(rc::kSessionHandles);
  Step step;
  const wire::Command* command = waiting->command();
  step.account = to_account(&connection, *id, command == nullptr ? 0 : command->code(), kExhausted, {});
  step.account->waited = waited;
  step.reply = Reply{*id, ticket, wire::error_response(kExhausted)};
  return step;
}

}  // namespace tpmspace::engine
