// The engine of one TPM: guard (as far as it counts wrong tries), queue and space joined by one `step`.
//
// Idea: pure. It sees bytes, a `wire::Tpm`, and the time it is given; it opens nothing, logs nothing, knows no socket.
// The daemon's thread moves bytes, calls `step` and sleeps; the simulator calls the same `step` in virtual time.
// Threads: one thread owns an Engine and calls everything here; `gate()` alone is for other threads.
// Units: `Time` is nanoseconds of a monotonic clock whose zero means nothing.
// Limits: one command of a connection is in the engine at a time (submit's precondition); connections and bytes are
// bounded by Config.
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
  // After this much idle time what is loaded is put away, if Chip says that others use the TPM. Nanoseconds.
  Time put_away_after = 20'000'000;
  // After this much time without use it is saved, if the TPM may lose power while we run (Chip::can_be_suspended): an
  // object, which stays loaded; a session, which leaves the TPM. Idle work, one TPM command a step. Nanoseconds.
  Time save_objects_after = 50'000'000;
  Time save_sessions_after = 5'000'000'000;
};

struct Reply {
  ConnectionId connection = 0;
  Ticket ticket = 0;
  wire::Bytes response;
};

// What an administrator's order came to.
struct OrderDone {
  std::uint64_t order = 0;
  std::vector<SessionView> sessions;  // as they were; at most what the chip has, and SessionList::kMaxParked
  // Of ReserveSession: REFERENCE_H0 (there is no such session that is in use), SESSION_MEMORY (no more can be spared).
  wire::Rc code = 0;
};

// What one step did.
struct Step {
  std::optional<Reply> reply;
  std::optional<observe::Account> account;  // present iff the TPM was used or a client was answered
  std::optional<OrderDone> order_done;
  std::optional<SessionsAnswer> sessions;
  bool away = false;         // after `prepare_for_sleep`: all is put away that can be
  bool idle = false;         // nothing was done and nothing can be done before `wake` or new input
  std::optional<Time> wake;  // with idle: there will be something to do then
};

// Counts for status; all about this moment. Sessions as DESIGN "Sessions" names their states.
struct Snapshot {
  std::uint32_t connections = 0;
  // Those that wait for a session included, and those that were cancelled and are not answered yet.
  std::uint32_t queued = 0;
  std::uint32_t waiting_for_session = 0;
  std::uint32_t objects = 0, objects_loaded = 0;
  std::uint32_t sessions = 0, sessions_loaded = 0, sessions_client_saved = 0;  // in the TPM
  std::uint32_t sessions_parked = 0;
  std::uint64_t bytes = 0;  // of saved contexts and of logs
};

class Engine {
 public:
  // The TPM is started and its limits are known (tpm/bring_up). `clock` is read around every TPM command.
  Engine(wire::Tpm& tpm, const wire::CommandTable& table, const space::Chip& chip, const Config& config,
         const std::function<Time()>& clock);
  ~Engine();

  [[nodiscard]] ConnectionId open(space::OwnerId owner, const space::SpaceLimits& limits);
  void set_limits(ConnectionId connection, const space::SpaceLimits& limits);
  // Precondition: the connection is open and has no command in the engine.
  // `number`: it is that one of its client's commands, counted from 1.
  [[nodiscard]] Ticket submit(ConnectionId connection, wire::Command command, std::uint8_t locality, Time now,
                              std::uint64_t number = 0);
  // The connection's space begins with what `from` has, of which its client knows what the first `known` commands made
  // (space/inheritance.h). It waits for its turn like a command, and has the response of one: SUCCESS, or why not.
  // Preconditions: as of submit; it is the connection's first one. `from` may be gone: VALUE.
  [[nodiscard]] Ticket inherit(ConnectionId connection, ConnectionId from, std::uint64_t known, Time now);
  // A command that still waits is answered CANCELED from our layer when it is its owner's turn, before the owner's
  // other commands, or not at all if it was withdrawn at the gate: true. One that is served is the gate's business, one
  // that is done nobody's: false.
  bool cancel(Ticket ticket);
  // Its waiting command is dropped without an answer; what the space held is given back in idle steps (or earlier,
  // when somebody needs the room). Client-saved sessions stay.
  void close(ConnectionId connection);

  // Sessions that are selected are taken from whoever has them, as a reclaim does it; one in a step, clients' commands
  // in between. `order` comes back in Step::order_done.
  void order_sessions(std::uint64_t order, SessionOrder what);

  // At most one client command (with the swapping it needs), or one TPM command of idle work.
  [[nodiscard]] Step step(Time now);

  // The machine is about to sleep, and the TPM may lose power: everything is put away as soon as possible (`away` of a
  // later step says when; before clients' commands, but every other step is theirs), and again after each command,
  // until `wake_up`.
  void prepare_for_sleep();
  // The machine was asleep: the TPM is asked what it holds before anything loaded is used.
  void wake_up();

  [[nodiscard]] Gate& gate();
  [[nodiscard]] Snapshot snapshot() const;
  // Also for another thread, within Gate::while_at_tpm.
  [[nodiscard]] SessionList sessions(const std::optional<space::Holder>& only = std::nullopt) const;
  // The list is made when it is its payer's turn, as a command of the payer would be; it comes in Step::sessions. The
  // caller bounds how many are asked for.
  void ask_for_sessions(const SessionsQuery& query);

  // Every session in the TPM that is ours, wanted or not, as the books have it; and the reset count they belong to.
  struct HeldSessions {
    std::uint32_t reset_count = 0, restart_count = 0;
    std::vector<std::uint32_t> handles;
  };
  [[nodiscard]] HeldSessions held_sessions() const;

  // Everything the engine knows, between any two steps; see books/books.h. Waiting commands are not part of it: their
  // connections hold them. A connection's id is its space's, so `restore_books` (on an engine without connections, for
  // the same TPM in the same state) brings back the connections with the ids they had. False: not an image of books.
  [[nodiscard]] wire::Bytes save_books() const;
  [[nodiscard]] bool restore_books(wire::ByteView books);

  // Nullopt: what must be true of the books is (books/books.h). For tests and after a restore.
  [[nodiscard]] std::optional<std::string> check() const;

  // Gives back whatever of ours is in the TPM (shutdown): loaded objects, sessions; client-saved ones too if asked.
  // Bounded: at most two TPM commands for each entity.
  observe::Account flush_all(bool client_saved_too);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tpmspace::engine
