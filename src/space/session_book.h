// The session book: who may have one more of the chip's active sessions, who loses one, and under which number.
//
// Idea: three words, kept apart. *Saved*: put away by ContextSave, same number, same nonces, still active (residency).
// *Parked*: a policy session that can be made again has left the TPM (parking). *Reclaimed*: taken from its space
// because somebody waits; a tombstone keeps its number there (TPM-RULES 10, MISSION M8). And *unwanted*: nobody's any
// more, flushed in idle time or when a number is needed.
// What can be made again takes nothing from anybody, so the bank is asked only for others: *ordinary* ones. It can
// become one, by a policy step that cannot be repeated or by auditing; then the bank is asked.
// A space knows numbers: its sessions', parked ones included, and its tombstones'. A TPM gives the lowest free number,
// and a StartAuthSession cannot be sent twice, so the free numbers that the space must not get are occupied first.
//
// Threads: with the manager. Units: sessions; nanoseconds of the manager's clock.
// Errors: response codes without a layer.
// Limits: tombstones of a space whose client was told are at most `kMaxTombstones`, all of them no more than the chip
// has numbers; a StartAuthSession is preceded by at most `kMaxFillers` others. Source: DESIGN, "Sessions"; TPM-RULES
// 10, 11, 24.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/admission.h"
#include "space/parking.h"
#include "space/residency.h"
#include "space/tpm_port.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::space {

class SessionBook {
 public:
  SessionBook(Books& books, const Chip& chip, const Quota& quota, TpmPort& port, Residency& residency, Parking& parking)
      : books_(books), chip_(chip), quota_(quota), port_(port), residency_(residency), parking_(parking) {}

  // --- One more
  // What a command asks of the chip's active sessions.
  enum class Want : std::uint8_t {
    kNothing,
    kNumber,    // a session that can be made again: a number, for as long as nobody else needs it
    kOrdinary,  // one more that stays: a new one, or one that could be made again until now
  };
  [[nodiscard]] Want want(SpaceId space, const wire::Command& command) const;
  enum class Admission : std::uint8_t {
    kNow,
    kNotNow,  // there may be one later
    kNever,   // the space's own limit or that of a pool, or it was given up
  };
  // Precondition: the command wants something. Of a number: whoever notices (Parking::number_at knows who does).
  // Where a pool is full of what nobody holds any more: as it will be after `make_room_in_pools`.
  [[nodiscard]] Admission admission(SpaceId space, const wire::Command& command) const;
  // When a number can be had for somebody who asked at `since`: any, or that one.
  [[nodiscard]] std::optional<std::uint64_t> number_at(std::uint64_t since, std::optional<std::uint32_t> which) const {
    return which ? parking_.number_at(since, *which) : parking_.number_at(since);
  }
  // As it is now for one who has no place that is kept. Who had to wait need not be looked at again before it has
  // changed.
  [[nodiscard]] Bank bank() const { return bank_without(0); }
  // What the command wants has room in the pools of its space: what others left behind there is taken, if it may be.
  // Precondition: admission is kNow, if it wants something.
  void make_room_in_pools(SpaceId space, const wire::Command& command);
  // The next session that the TPM starts has a number that the space does not know, if that can be had. Precondition:
  // admission is kNow.
  wire::Rc clear_the_way(SpaceId space);
  // Success of the space's StartAuthSession, whose session was handed out and is unwanted until now: the handle that
  // its client shall know. Nullopt: the space knows all numbers; it stays unwanted.
  std::optional<wire::ClientHandle> book_started(SpaceId space, const wire::Command& command,
                                                 const wire::Response& response);
  // Success of a command: what it did to the policies of its sessions, and what the client knows of them since.
  void book_policy(SpaceId space, const wire::Command& command);
  void book_uses(SpaceId space, const wire::Command& command, const wire::Response& response);

  // --- Places that stay an owner's (books/kept_places.h)
  // What a space and its owner have before a command, or before the space closes.
  struct Before {
    struct Waited {
      std::uint32_t number = 0;
      std::uint64_t started_at = 0, served_at = 0, tenure = 0;
    };
    OwnerId owner;
    std::uint32_t ordinary = 0;  // the owner's sessions
    std::vector<Waited> waited;  // those of the space that it had waited for
  };
  [[nodiscard]] Before before(SpaceId space) const;
  // Afterwards: the places of those that the client gave back are kept, those of new ones are used. `created`: the new
  // one, if the command made it.
  void settle_places(const Before& before, Session* created);

  // --- One less
  // It becomes unwanted.
  void drop(std::uint32_t number) { make_unwanted(books_, number); }
  // The space is about to close.
  void leave(SpaceId space);
  // Takes it from whoever has it; which one: space/reclaim.h.
  void take(std::uint32_t number, const wire::Taker& by);
  void take_parked_one(const ParkedKey& key, const wire::Taker& by);
  void take_parked_file_of(const ContextDigest& copy, const wire::Taker& by);

  // --- Reserved ones (MISSION M11)
  // SUCCESS, or why not: REFERENCE_H0 (nobody can use such a session), SESSION_MEMORY (it cannot be spared).
  wire::Rc reserve(std::uint32_t number);
  void release(std::uint32_t number);
  // Everything of the space is given up (Exhaustion::kClose).
  void give_up(SpaceId space);

  // --- Tombstones
  // The client used it, if it is one, and is refused. (FlushContext buries it: context_commands.)
  void tell(SpaceId space, std::uint32_t handle);

 private:
  static constexpr int kMaxFillers = 8;

  // As if so many that nobody has any more were gone.
  [[nodiscard]] Bank bank_without(std::size_t left_behind) const;
  [[nodiscard]] std::optional<wire::ClientHandle> client_handle(SpaceId space, std::uint32_t handle) const;
  void log_step(Session& session, SpaceId space, const wire::Command& command);
  std::optional<wire::Bytes> key_of(SpaceId space, const wire::Command& step);
  void record_taken(const Session& session, const wire::Taker& by);
  void note_let_go(const Session& session, wire::Taker::Why why);
  void enforce_abandoned_limits();
  void enforce_parked_limit(OwnerId owner);

  Books& books_;
  const Chip& chip_;
  const Quota& quota_;
  TpmPort& port_;
  Residency& residency_;
  Parking& parking_;
};

}  // namespace tpmspace::space
