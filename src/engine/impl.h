// The implementation of `Engine`, for the files with a part of the work: engine.cc (one command, idle work),
// waiting_commands.cc (commands waiting for a session or a number), session_orders.cc (an administrator's orders),
// session_list.cc (reports about sessions). Only these files include this header.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "base/invariant.h"
#include "engine/agenda.h"
#include "engine/engine.h"
#include "engine/lockout_guard.h"
#include "engine/watched_tpm.h"
#include "queue/fair_queue.h"
#include "space/manager.h"
#include "space/number_queue.h"
#include "space/session_queue.h"

namespace tpmspace::engine {

// The least cost of a turn in nanoseconds: a command that the manager answers itself takes no TPM time, but takes a
// turn.
inline constexpr std::uint64_t kLeastCharge = 20'000;
inline constexpr std::uint64_t kUsualShare = 100;
// The least time between two tries of a TPM whose back end is gone or whose responses make no sense (idle work only;
// clients always get a response).
inline constexpr Time kLostPause = 1'000'000'000;

// The request of a waiting connection: a command of the client, or objects of another connection's space.
struct ClientCommand {
  wire::Command command;
  std::uint8_t locality = 0;
  std::uint64_t number = 0;  // counts the client's commands
};
struct Inherit {
  space::SpaceId from;
  std::uint64_t known = 0;  // space/inheritance.h
};
struct Waiting {
  Ticket ticket = 0;
  std::variant<ClientCommand, Inherit> what;
  bool cancelled = false;  // the turn only answers CANCELED

  // Null: objects of another connection are requested.
  [[nodiscard]] const wire::Command* command() const {
    const auto* one = std::get_if<ClientCommand>(&what);
    return one == nullptr ? nullptr : &one->command;
  }
};

struct Connection {
  space::OwnerId owner;
  space::SpaceId space;
  std::optional<Waiting> waiting;
};

// An administrator's order in progress.
struct OrderUnderWay {
  SessionOrder what;
  bool begun = false;
  std::vector<SessionView> to_take;  // sessions that existed when the order began; from the back
  OrderDone done;
};

struct Engine::Impl {
  Impl(wire::Tpm& tpm, const wire::CommandTable& table, const space::Chip& chip, const Config& settings,
       const std::function<Time()>& now_of)
      : config(settings),
        clock(now_of),
        gate(tpm),
        own(tpm, table, gate, false),
        clients(tpm, table, gate, true),
        manager(own, table, chip, space::Quota{settings.max_bytes, settings.client_saved_sessions_per_owner}, now_of),
        lockout(chip, now_of()) {}

  // The process ends if the connection is not open: the request would run for another client, or for none.
  Connection& connection_of(ConnectionId id) {
    const auto found = connections.find(id);
    TPMSPACE_ASSERT(found != connections.end());
    return found->second;
  }
  // The connection whose request waits with this ticket. A ticket in a queue without a request is a broken invariant:
  // nullopt, and the ticket is forgotten.
  [[nodiscard]] std::optional<ConnectionId> id_of(Ticket ticket);
  // The same. Null: no such request.
  Connection* connection_with(Ticket ticket) {
    const auto id = id_of(ticket);
    return id ? &connection_of(*id) : nullptr;
  }

  Step run_next(Time now);
  // A step of work that does not serve the fair queue; nullopt: no such work, or not now.
  std::optional<Step> do_work(Agenda::Work kind, Time now);
  std::optional<Step> tidy_backlog(Time now);
  Step answer_cancelled(Ticket ticket);
  // Charges the owner for the time since `began`.
  void charge(space::OwnerId owner, Time began);
  // Executes the client's command. `waited`: the wait for a session.
  Step serve(Ticket ticket, Time now, std::optional<Time> waited = std::nullopt);
  // Gives the connection a ticket; the request waits for its turn.
  Ticket expect(ConnectionId connection, std::variant<ClientCommand, Inherit> what, Time now);
  Step serve_command(ConnectionId id, Ticket ticket, const ClientCommand& what, std::optional<Time> waited);
  Step serve_inherit(ConnectionId id, Ticket ticket, const Inherit& what);
  // Ends the owner's turn since `began`. `of_others`: nanoseconds paid by other owners.
  void charge_turn(const Connection& connection, Time began, Time of_others = 0);
  // False: the command may run now. True: the command was entered in its queue.
  bool must_wait(Ticket ticket, Time now);
  // One step for commands that wait for a session or number; nullopt: no work before `look_at_sessions` or
  // `look_at_numbers`.
  std::optional<Step> serve_session_queue(Time now);
  std::optional<Step> serve_number_queue(Time now);
  Step take_for_queue(const space::Taking& taking, Time now);
  void leave_queue(Ticket ticket);
  // The session queue needs a new look, at this owner's cost.
  void change_queue(space::OwnerId by);
  void end_await(const Connection& connection);
  // Nullopt: the ticket is in no queue.
  [[nodiscard]] std::optional<Time> waits_since(Ticket ticket) const;
  [[nodiscard]] std::size_t waiting() const { return session_queue.size() + number_queue.size(); }
  Step end_waiting(Ticket ticket, Time now);
  [[nodiscard]] SessionList list_sessions(const std::optional<space::Holder>& only) const;
  // Answers a query for the list.
  Step answer_query(const SessionsQuery& query);
  // The next session of the first order; nullopt: no order.
  std::optional<Step> go_on_with_order(Time now);
  Step go_on_flushing(OrderUnderWay& order);
  Step begin_flushing(OrderUnderWay& order);
  Step reserve(OrderUnderWay& order, const ReserveSession& which);
  std::optional<Waiting> take_waiting(Ticket ticket);
  [[nodiscard]] const space::SpaceLimits& limits_of(const Connection& connection) const {
    return space::space_of(manager.books(), connection.space).limits;
  }
  [[nodiscard]] observe::Held held_by(space::SpaceId space) const;
  Step idle(Time now);
  std::optional<Step> save_unused(Time now, std::optional<Time>& wake);
  std::optional<Step> put_away(Time now);
  std::optional<Step> put_away_for_sleep(Time now);
  Step did_idle_work(space::Cost cost, bool done, Time now);
  Step account_only(space::Cost cost);
  observe::Account to_account(const Connection* connection, ConnectionId id, std::uint32_t code, wire::Rc rc,
                              space::Cost cost);

  Config config;
  std::function<Time()> clock;
  Gate gate;
  WatchedTpm own, clients;
  space::Manager manager;
  LockoutGuard lockout;
  queue::FairQueue queue;
  std::map<ConnectionId, Connection> connections;
  std::map<Ticket, ConnectionId> tickets;  // of waiting commands, in any queue
  space::SessionQueue session_queue;       // for a session
  std::optional<space::Bank> last_bank;    // the bank when no guest of the queue could be served
  std::optional<space::OwnerId> line_changed_by;
  space::NumberQueue number_queue;
  Time look_at_sessions = 0, look_at_numbers = 0;
  std::deque<OrderUnderWay> orders;
  std::map<Ticket, SessionsQuery> queries;  // in the fair queue
  Ticket last_ticket = 0;
  Time last_activity = 0;
  Time not_before = 0;        // idle work, after the back end was lost
  bool asleep = false;        // from `prepare_for_sleep` to `wake_up`
  bool falls_asleep = false;  // some entities are not put away yet
  Agenda agenda;
};

}  // namespace tpmspace::engine
