// The resource manager of one TPM: gives every space a TPM that looks private and never full.
//
// Idea: one command is straight-line code. The manager resolves the handles in the space, loads the needed entities,
// translates, forwards to the TPM, books the confirmed result, and translates back. Commands that need no TPM are
// answered directly.
// Threads: one thread owns a Manager and the TPM. Pure: no I/O except through the given `wire::Tpm`s.
// Units: ticks count client commands. Limits: SpaceLimits, Quota, Chip; retries for one command are bounded.
// Errors: a client always gets a TPM response; responses that the manager makes itself come from layer 11.
// Source: docs/tpm-behaviour.md; TCG TSS 2.0 TAB and Resource Manager specification, 3.7; Part 1, 30 (context
// management).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/invariant.h"
#include "books/books.h"
#include "books/chip.h"
#include "space/context_commands.h"
#include "space/context_room.h"
#include "space/inheritance.h"
#include "space/parking.h"
#include "space/plan.h"
#include "space/protection.h"
#include "space/recovery.h"
#include "space/residency.h"
#include "space/session_book.h"
#include "space/stale_nonces.h"
#include "space/status.h"
#include "space/tpm_port.h"
#include "wire/command.h"
#include "wire/response.h"
#include "wire/tpm.h"

namespace tpmspace::space {

struct Outcome {
  wire::Bytes response;
  wire::Rc code = 0;  // of the response
  // The new entity of the client, and the session that the client saved or loaded: `undo` reverts all of these.
  std::optional<wire::ClientHandle> created;
  std::optional<std::uint32_t> saved_session, loaded_session;  // the client's handles
  // The nonces of the used sessions as the client knew them before.
  std::vector<std::pair<wire::ClientHandle, wire::Bytes>> nonces;
  Failure failure = Failure::kNone;  // a wrong authorization
  bool stopped_for_lockout = false;  // answered LOCKOUT, since the authorization could have been wrong
  bool kept_from_pin = false;  // answered NV_AUTHORIZATION, since the command tries a PIN that is not for this space
  std::optional<Holder> saved_by;  // a ContextLoad was refused, since this other holder saved the session
  Cost cost;
};

// Whether the owner of a space has a try left. `news`: the latest values of the chip's counting.
enum class Tries : std::uint8_t { kLeft, kNone };
using TriesLeft = std::function<Tries(const LockoutNews& news)>;

// The result for an entity that could not be loaded, as the client's own TPM would answer. Warnings for the manager's
// own commands are not passed on: after RETRY, the client would repeat a command that may never succeed
// (docs/tpm-behaviour.md 32).
[[nodiscard]] Status as_lack_of_room(const Status& status, wire::Rc no_room);

class Manager {
 public:
  Manager(wire::Tpm& tpm, const wire::CommandTable& table, const Chip& chip, const Quota& quota, TpmPort::Clock clock);
  // The members refer to each other.
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  [[nodiscard]] SpaceId open(OwnerId owner, const SpaceLimits& limits);
  void set_limits(SpaceId space, const SpaceLimits& limits);
  // The space begins with the objects of `from`, as far as the client can know them (space/inheritance.h). `result`:
  // SUCCESS, or why nothing was copied. FAILURE if a space is not open. `space` has executed no command yet.
  Cost inherit(SpaceId space, SpaceId from, std::uint64_t known, wire::Rc& result);
  // The space's entities lose their space; `tidy` flushes them, or an earlier command in need of the room. Client-saved
  // sessions stay.
  void close(SpaceId space);

  // FAILURE if the space is not open. `client_tpm`: the same TPM, only for the client's own command. If no try is left,
  // a command that could cost a try is answered LOCKOUT and changes nothing. `tries_left` is called at the start, and
  // again after a reset during the command: the chip may have counted a try.
  Outcome execute(SpaceId space, const wire::Command& command, std::uint8_t locality, wire::Tpm& client_tpm,
                  const TriesLeft& tries_left);
  // For a response that could not be delivered: the client knows neither a new handle nor a new context.
  void undo(SpaceId space, const Outcome& outcome);

  // Which spaces may have a session, and which wait (used by space/session_queue.h).
  [[nodiscard]] const SessionBook& session_book() const { return session_book_; }
  struct Wish {
    SessionBook::Want want = SessionBook::Want::kNothing;
    std::optional<std::uint32_t> number;  // the number, with kNumber
  };
  [[nodiscard]] Wish wish_of(SpaceId space, const wire::Command& command);
  // Notes the command's number among its client's commands: see Object::made_by.
  void note_number(SpaceId space, const Outcome& outcome, std::uint64_t number);
  // Notes the client's wait before this command made the session.
  void note_waited_for(SpaceId space, const Outcome& outcome);
  // Notes the start or end of a command's wait in a queue: the command's sessions leave the TPM last.
  void await(SpaceId space, const wire::Command& command, bool awaited);
  // Kept places: ends places expired at `now`; gives up one place of the owner.
  void expire_kept_places(std::uint64_t now) { books_.kept_places.expire(now); }
  void release_kept_place(OwnerId owner) { (void)books_.kept_places.release(owner); }
  // Reclaims a session. At most one TPM command.
  Cost take_session(std::uint32_t number, const wire::Taker& by);
  // Reclaims parked sessions, by an administrator's order. No TPM command.
  Cost take_parked_sessions(const std::vector<ParkedKey>& sessions, const std::vector<ContextDigest>& files);
  // Reserves a session in the TPM, so that the session stays loaded and is not reclaimed, or releases the session.
  Cost reserve_session(std::uint32_t number, bool reserved, wire::Rc& result);
  // Exhaustion::kClose.
  void give_up(SpaceId space) {
    if (is_open(space)) empty_space(books_, space);
  }

  // One piece of idle work; nullopt: no work is left.
  std::optional<Cost> tidy();
  [[nodiscard]] std::size_t unwanted() const { return residency_.unwanted(); }
  [[nodiscard]] std::size_t loaded() const { return books_.slots.size() + loaded_sessions(books_); }
  // Saves or flushes one loaded entity, so that other users find the chip empty; nullopt: no entity is loaded.
  std::optional<Cost> put_away();
  // Residency::save_unused; `next_unused` tells when more work is due.
  std::optional<Cost> save_unused(const Residency::Unused& what);
  [[nodiscard]] Residency::NextUnused next_unused() const { return residency_.next_unused(); }
  // Another program may have sent Startup just now (the machine was asleep): the manager compares the books with the
  // TPM before any loaded entity is used.
  void doubt() { books_.in_doubt = true; }
  // Removes all entities of tpmspace from the TPM (shutdown). At most one command for each.
  Cost flush_all(bool client_saved_too);

  [[nodiscard]] const Books& books() const { return books_; }
  [[nodiscard]] const Chip& chip() const { return chip_; }
  // For books that `check` found right, and that describe this TPM in its present state.
  void restore(Books books);

 private:
  // One command of a client, while it is executed.
  struct Request {
    const SpaceId space;
    const wire::Command& command;
    const std::uint8_t locality;
    wire::Tpm& client_tpm;
    const TriesLeft& tries_left;
    Outcome& outcome;
    Tries tries = Tries::kLeft;
    bool resynchronised = false;  // the books are compared once for each command
    wire::Bytes last = {};        // the TPM's last response
  };

  [[nodiscard]] SpaceLimits possible(SpaceLimits limits) const;
  // The engine uses a space only while it is open, so a space that is not open is a broken invariant.
  [[nodiscard]] bool is_open(SpaceId space) const { return TPMSPACE_HOLDS(find_space(books_, space) != nullptr); }
  Cost settle();
  void contain_broken_invariants();
  Tries tries_after_reset(const TriesLeft& tries_left);

  // --- One command, in order.
  wire::Bytes run(Request& request);
  // Contexts, lists of handles, and the known properties of a parked session.
  std::optional<wire::Bytes> answer_without_tpm(SpaceId space, const wire::Command& command);
  std::optional<wire::Bytes> answer_for_parked(SpaceId space, const wire::Command& command);
  std::optional<wire::Rc> within_limits(SpaceId space, const wire::Command& command);

  // --- One attempt, in order. A step's status is success, the client's code, or to start over.
  std::optional<wire::Bytes> attempt(Request& request);
  wire::Bytes refuse(const Plan& plan);
  Status protect(Request& request, const Plan& plan);
  Status load(Request& request, const Plan& plan);
  Status bring_back_sessions(const Plan& plan, std::uint8_t locality);
  Status bring_back(SpaceId space, std::uint32_t handle, std::uint8_t locality, std::optional<unsigned> covered);
  Status make_resident(const Plan& plan);
  Status make_room_for_results(const Plan& plan);
  Status drop_unloadable_object(SpaceId space, wire::ClientHandle handle);
  Status drop_unloadable_session(std::uint32_t number);
  Status after_failure(Request& request, const Status& status);
  Status check_nonces(const Plan& plan, StaleNonces::Hmacs& hmacs);
  std::optional<wire::Bytes> send(Request& request, const Plan& plan, const StaleNonces::Hmacs& hmacs);
  std::optional<wire::Bytes> translate(const Plan& plan, const StaleNonces::Hmacs& without_hmac);
  bool repair(const wire::Command& command, wire::Rc code, bool& resynchronised);
  bool implies_stale_books(wire::Rc code, bool& resynchronised);
  bool resynchronise_once(bool& resynchronised);

  // --- After success.
  wire::Bytes finish(Request& request, const Plan& plan, wire::Response& response);
  void note_seen(const Plan& plan);
  void note_nonces(const Plan& plan, Outcome& outcome);
  void book(const Plan& plan, wire::Response& response, Outcome& outcome);
  void book_created(SpaceId space, const wire::Command& command, wire::Response& response, Outcome& outcome);
  void book_client_save(SpaceId space, const wire::Command& command, const wire::Response& response);
  // The GetCapability response as the space sees it. Nullopt: unchanged.
  std::optional<wire::Bytes> capabilities_in_space(const Plan& plan, const wire::Response& response);
  void forget_copies_of_used_sequences(const Plan& plan);
  void undo_save(SpaceId space, std::uint32_t number);
  wire::ClientHandle free_handle(SpaceId space) const;

  Chip chip_;
  const Quota quota_;
  Books books_;
  TpmPort port_;
  Recovery recovery_;
  Residency residency_;
  ContextCommands contexts_;
  ContextRoom context_room_;
  Inheritance inheritance_;
  Parking parking_;
  SessionBook session_book_;
  StaleNonces stale_nonces_;
  Protection protection_;
  std::optional<SpaceId> in_use_;  // of the command since the last `settle`
};

}  // namespace tpmspace::space
