// The resource manager of one TPM: gives every space a TPM that looks private and never full.
//
// Idea: one command is straight-line code. Resolve its handles in the space, make resident what it needs, translate,
// let the TPM do it, book what it confirmed, translate back. What can be answered without the TPM is.
// Threads: one thread owns a Manager and its TPM. Pure: no I/O but the `wire::Tpm`s it is given.
// Units: ticks count client commands. Limits: SpaceLimits, Quota, Chip; retries for one command are bounded.
// Errors: a client is always answered with a TPM response; what we say on the TPM's behalf has our layer.
// Source: TPM-RULES; TCG TSS 2.0 TAB and Resource Manager specification, 3.7; Part 1, 30 (context management).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/context_commands.h"
#include "space/context_room.h"
#include "space/inheritance.h"
#include "space/parking.h"
#include "space/protection.h"
#include "space/recovery.h"
#include "space/residency.h"
#include "space/session_book.h"
#include "space/stale_nonces.h"
#include "space/tpm_port.h"
#include "wire/command.h"
#include "wire/response.h"
#include "wire/tpm.h"

namespace tpmspace::space {

struct Outcome {
  wire::Bytes response;
  wire::Rc code = 0;  // of the response
  // What came into being for the client, and the session it put away or got back: `undo` takes all of it back.
  std::optional<wire::ClientHandle> created;
  std::optional<std::uint32_t> saved_session, loaded_session;  // as the client knows them
  // Of the sessions that were used, as they were for the client before.
  std::vector<std::pair<wire::ClientHandle, wire::Bytes>> nonces;
  Failure failure = Failure::kNone;  // a wrong authorization
  bool stopped_for_lockout = false;  // it was answered LOCKOUT, since it could have been one
  bool kept_from_pin = false;        // it was answered NV_AUTHORIZATION, since it tries a PIN that is not for its space
  std::optional<Holder> saved_by;    // a ContextLoad was refused, since this other one saved the session
  Cost cost;
};

// Whether the owner of a space may be wrong once more; told what the chip has said of its count meanwhile.
enum class Tries : std::uint8_t { kLeft, kNone };
using TriesLeft = std::function<Tries(const LockoutNews& news)>;

class Manager {
 public:
  Manager(wire::Tpm& tpm, const wire::CommandTable& table, const Chip& chip, const Quota& quota, TpmPort::Clock clock);
  // The parts refer to each other.
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  [[nodiscard]] SpaceId open(OwnerId owner, const SpaceLimits& limits);
  void set_limits(SpaceId space, const SpaceLimits& limits);
  // The space begins with what `from` has, as far as its client can know of it (space/inheritance.h). `result` is
  // SUCCESS, or says why it has nothing. Precondition: both are open, and nothing was done in `space`.
  Cost inherit(SpaceId space, SpaceId from, std::uint64_t known, wire::Rc& result);
  // What it held becomes nobody's and is flushed by `tidy` or when the room is needed; client-saved sessions stay.
  void close(SpaceId space);

  // Precondition: the space is open. `client_tpm` is the same TPM, for the client's own command alone. Without tries
  // what could cost one is answered LOCKOUT, and nothing has changed. `tries_left` is asked at the beginning, and again
  // after a reset that the command met: the chip may have counted one.
  Outcome execute(SpaceId space, const wire::Command& command, std::uint8_t locality, wire::Tpm& client_tpm,
                  const TriesLeft& tries_left);
  // The response could not be delivered: nobody knows the handle, nobody has the context.
  void undo(SpaceId space, const Outcome& outcome);

  // Who may have a session, and who waits for one (space/session_queue.h asks).
  [[nodiscard]] const SessionBook& session_book() const { return session_book_; }
  struct Wish {
    SessionBook::Want want = SessionBook::Want::kNothing;
    std::optional<std::uint32_t> number;  // with kNumber: that one
  };
  [[nodiscard]] Wish wish_of(SpaceId space, const wire::Command& command);
  // It was that one of its client's commands: see Object::made_by.
  void note_number(SpaceId space, const Outcome& outcome, std::uint64_t number);
  // The session that this made had been waited for.
  void note_waited_for(SpaceId space, const Outcome& outcome);
  // That command waits in a queue, or no longer: the sessions that it names are the last to leave the TPM.
  void await(SpaceId space, const wire::Command& command, bool awaited);
  // Places that are kept for an owner: no longer than until now; one less of that owner's.
  void expire_kept_places(std::uint64_t now) { books_.kept_places.expire(now); }
  void release_kept_place(OwnerId owner) { (void)books_.kept_places.release(owner); }
  // A session is taken from whoever has it. At most one TPM command.
  Cost take_session(std::uint32_t number, const wire::Taker& by);
  // Those are parked there, by an administrator's order. No TPM command.
  Cost take_parked_sessions(const std::vector<ParkedKey>& sessions, const std::vector<ContextDigest>& files);
  // A session in the TPM stays where it is, or may be moved again (MISSION M11).
  Cost reserve_session(std::uint32_t number, bool reserved, wire::Rc& result);
  // Exhaustion::kClose.
  void give_up(SpaceId space) { session_book_.give_up(space); }

  // One piece of idle work; nullopt: there is none.
  std::optional<Cost> tidy();
  [[nodiscard]] std::size_t unwanted() const { return residency_.unwanted(); }
  [[nodiscard]] std::size_t loaded() const { return books_.slots.size() + loaded_sessions(books_); }
  // Puts one loaded thing away, so that others find the chip empty; nullopt: nothing is loaded.
  std::optional<Cost> put_away();
  // Residency::save_unused, and when there will be more to do.
  std::optional<Cost> save_unused(const Residency::Unused& what);
  [[nodiscard]] Residency::NextUnused next_unused() const { return residency_.next_unused(); }
  // The TPM may have been started up by somebody else just now (the machine was asleep): nothing that is loaded is used
  // before it was asked.
  void doubt() { books_.in_doubt = true; }
  // Takes everything of ours out of the TPM (shutdown). At most one command for each thing.
  Cost flush_all(bool client_saved_too);

  [[nodiscard]] const Books& books() const { return books_; }
  [[nodiscard]] const Chip& chip() const { return chip_; }
  // Precondition: the books are of this TPM in its present state.
  void restore(Books books);

 private:
  using Refusal = std::optional<wire::Rc>;

  [[nodiscard]] SpaceLimits possible(SpaceLimits limits) const;
  Cost settle();
  wire::Bytes run(SpaceId space, const wire::Command& command, std::uint8_t locality, wire::Tpm& client_tpm,
                  const TriesLeft& tries_left, Outcome& outcome);
  Tries tries_after_reset(const TriesLeft& tries_left);
  // Contexts, lists of handles, and what is known of a parked session.
  std::optional<wire::Bytes> answer_without_tpm(SpaceId space, const wire::Command& command);
  std::optional<wire::Bytes> answer_for_parked(SpaceId space, const wire::Command& command);

  // The steps of one command (DESIGN, "Inside the manager").
  Refusal resolve(SpaceId space, const wire::Command& command);
  Refusal within_limits(SpaceId space, const wire::Command& command);
  wire::Rc bring_back_sessions(SpaceId space, const wire::Command& command, std::uint8_t locality);
  wire::Rc bring_back(SpaceId space, std::uint32_t handle, std::uint8_t locality, std::optional<unsigned> covered);
  wire::Rc make_resident(SpaceId space, const wire::Command& command);
  wire::Bytes translate(SpaceId space, const wire::Command& command, const StaleNonces::Hmacs& without_hmac);
  bool repair(const wire::Command& command, wire::Rc code, bool& resynchronised);
  bool implies_stale_books(wire::Rc code, bool& resynchronised);
  bool resynchronise_once(bool& resynchronised);
  void book(SpaceId space, const wire::Command& command, wire::Response& response, Outcome& outcome);
  void book_created(SpaceId space, const wire::Command& command, wire::Response& response, Outcome& outcome);
  void note_seen(SpaceId space, const wire::Command& command);
  [[nodiscard]] bool needs_loaded(const wire::Command& command) const;
  void book_client_save(SpaceId space, const wire::Command& command, const wire::Response& response);
  // The answer to GetCapability as the space sees it. Nullopt: as the TPM gave it.
  std::optional<wire::Bytes> capabilities_in_space(SpaceId space, const wire::Command& command,
                                                   const wire::Response& response);
  void forget_copies_of_used_sequences(SpaceId space, const wire::Command& command);

  [[nodiscard]] const View* view_of(SpaceId space) const { return books_.spaces.at(space).limits.view.get(); }
  void undo_save(SpaceId space, std::uint32_t number);
  void note_nonces(SpaceId space, const wire::Command& command, Outcome& outcome);
  std::vector<Session*> sessions_of(SpaceId space, const wire::Command& command);
  wire::ClientHandle free_handle(SpaceId space) const;
  wire::Rc drop_unloadable_object(SpaceId space, wire::ClientHandle handle);
  wire::Rc drop_unloadable_session(std::uint32_t number);

  // From make_resident: something turned out to be gone and has left the books; resolve again. No TPM says this.
  static constexpr wire::Rc kGoneMeanwhile = 0xFFFFFFFF;

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
};

}  // namespace tpmspace::space
