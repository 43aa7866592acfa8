// The engine of one TPM: the guard's counters for wrong tries, the queue and the resource manager, driven by one
// `step`.
//
// Idea: pure. The engine gets bytes, a `wire::Tpm` and the time; the engine opens nothing, logs nothing and knows no
// socket. The daemon's thread moves bytes, calls `step` and sleeps; the simulator calls the same `step` in virtual
// time.
// Threads: one thread owns an Engine and calls all methods; only `gate()` is for other threads.
// Units: `Time` is nanoseconds of a monotonic clock with an arbitrary zero.
// Limits: at most one command of a connection is in the engine (submit's precondition); Config bounds connections and
// bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "books/chip.h"
#include "books/owner.h"
#include "engine/gate.h"
#include "engine/session_list.h"
#include "observe/account.h"
#include "wire/command.h"
#include "wire/tpm.h"

namespace tpmspace::engine {

using Time = std::uint64_t;
using ConnectionId = std::uint64_t;  // never reused, never 0

struct Config {
  std::uint32_t client_saved_sessions_per_owner = 16;
  std::uint64_t max_bytes = 64ULL << 20;  // of saved contexts, in the whole engine
  // Loaded entities are put away after this idle time if Chip has other users. Nanoseconds.
  Time put_away_after = 20'000'000;
  // If the TPM may lose power while tpmspace runs (Chip::can_be_suspended), an entity is saved after this time without
  // use. An object stays loaded; a session leaves its slot. Idle work, one TPM command a step. Nanoseconds.
  Time save_objects_after = 50'000'000;
  Time save_sessions_after = 5'000'000'000;
};

struct Reply {
  ConnectionId connection = 0;
  Ticket ticket = 0;
  wire::Bytes response;
};

// The result of an administrator's order.
struct OrderDone {
  std::uint64_t order = 0;
  std::vector<SessionView> sessions;  // as they were; at most the chip's sessions and SessionList::kMaxParked
  // Of ReserveSession: REFERENCE_H0 (no such session in use), SESSION_MEMORY (the chip has none to spare).
  wire::Rc code = 0;
};

// The result of one step.
struct Step {
  std::optional<Reply> reply;
  std::optional<observe::Account> account;  // present iff the TPM was used or a client was answered
  std::optional<OrderDone> order_done;
  std::optional<SessionsAnswer> sessions;
  bool away = false;         // after `prepare_for_sleep`: all entities are put away as far as possible
  bool idle = false;         // the step did nothing, and no work is possible before `wake` or new input
  std::optional<Time> wake;  // with idle: when there is work
};

// Counts for status, all at this moment.
struct Snapshot {
  std::uint32_t connections = 0;
  // Includes commands that wait for a session, and cancelled commands before their response.
  std::uint32_t queued = 0;
  std::uint32_t waiting_for_session = 0;
  std::uint32_t objects = 0, objects_loaded = 0;
  std::uint32_t sessions = 0, sessions_loaded = 0, sessions_client_saved = 0;  // in the TPM
  std::uint32_t sessions_parked = 0;
  std::uint64_t bytes = 0;  // of saved contexts and of logs
};

class Engine {
 public:
  // Precondition: the TPM is started and its limits are known (tpm/bring_up). `clock` is read around every TPM command.
  Engine(wire::Tpm& tpm, const wire::CommandTable& table, const space::Chip& chip, const Config& config,
         const std::function<Time()>& clock);
  ~Engine();

  [[nodiscard]] ConnectionId open(space::OwnerId owner, const space::SpaceLimits& limits);
  void set_limits(ConnectionId connection, const space::SpaceLimits& limits);
  // For an open connection that has no command in the engine. `number`: counts the client's commands, from
  // 1.
  [[nodiscard]] Ticket submit(ConnectionId connection, wire::Command command, std::uint8_t locality, Time now,
                              std::uint64_t number = 0);
  // The connection's space begins with the objects of `from` that the first `known` commands made
  // (space/inheritance.h). The request waits for its turn like a command and gets a command's response: SUCCESS, or the
  // reason. Preconditions: as of submit; first request of the connection. `from` may be closed: VALUE.
  [[nodiscard]] Ticket inherit(ConnectionId connection, ConnectionId from, std::uint64_t known, Time now);
  // True: a waiting command is answered CANCELED from layer 11 at its owner's turn, before the owner's other commands,
  // or not at all if the command was withdrawn at the gate. False: the command is being executed (use the gate) or
  // done.
  bool cancel(Ticket ticket);
  // Drops the connection's waiting command without a response. Idle steps flush the space's entities, or earlier steps
  // that need the room. Client-saved sessions stay.
  void close(ConnectionId connection);

  // Reclaims the selected sessions from any holder: one in a step, with clients' commands in between. `order` comes
  // back in Step::order_done.
  void order_sessions(std::uint64_t order, SessionOrder what);

  // Executes at most one client command (with swapping), or one TPM command of idle work.
  [[nodiscard]] Step step(Time now);

  // For a machine that is about to sleep, when the TPM may lose power: puts all entities away as soon as possible, and
  // again after each command, until `wake_up`. This work precedes clients' commands, but every other step is for
  // clients. `away` of a later step reports the end.
  void prepare_for_sleep();
  // After sleep: asks the TPM for its entities before any loaded entity is used.
  void wake_up();

  [[nodiscard]] Gate& gate();
  [[nodiscard]] Snapshot snapshot() const;
  // Other threads may call this within Gate::while_at_tpm.
  [[nodiscard]] SessionList sessions(const std::optional<space::Holder>& only = std::nullopt) const;
  // The list is made at its payer's turn, as a command of the payer would be, and comes in Step::sessions. The caller
  // bounds the number of queries.
  void ask_for_sessions(const SessionsQuery& query);

  // All sessions of tpmspace in the TPM by the books, unwanted ones included, and the reset count at that time.
  struct HeldSessions {
    std::uint32_t reset_count = 0, restart_count = 0;
    std::vector<std::uint32_t> handles;
  };
  [[nodiscard]] HeldSessions held_sessions() const;

  // The engine's whole knowledge between two steps; see books/books.h. Waiting commands are not included: their
  // connections hold them. A connection has the id of its space. So `restore_books` (on an engine without connections,
  // for the same TPM in the same state) brings back the connections with the same ids. False: not an image of books.
  [[nodiscard]] wire::Bytes save_books() const;
  [[nodiscard]] bool restore_books(wire::ByteView books);

  // Nullopt: the rules of the books hold (books/books.h). For tests and after a restore.
  [[nodiscard]] std::optional<std::string> check() const;

  // At shutdown: flushes loaded objects and sessions of tpmspace, and client-saved sessions if requested. At most two
  // TPM commands for each entity.
  observe::Account flush_all(bool client_saved_too);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tpmspace::engine
