// The session book: admission of sessions, reclaiming, and session numbers.
//
// Idea: four words have separate meanings. *Saved*: out of its slot by ContextSave, with the same number and nonces,
// still active (residency). *Parked*: a rebuildable policy session that has left the TPM (parking). *Reclaimed*: taken
// from its space because another client waits; a tombstone keeps the number in the space (docs/tpm-behaviour.md 10).
// *Unwanted*: without a space, flushed in idle time or when a number is needed.
// A rebuildable session takes nothing from other clients, so the bank is asked only for *ordinary* sessions. A
// rebuildable session becomes ordinary by an unrepeatable policy step, or by auditing; the bank is then asked.
// A space knows the numbers of its sessions, parked ones included, and of its tombstones. A TPM gives the lowest free
// number, and a StartAuthSession cannot be sent twice, so free numbers forbidden to the space are occupied first.
//
// Threads: with the manager. Units: sessions; nanoseconds of the manager's clock.
// Errors: response codes without a layer.
// Limits: a space has at most `kMaxTombstones` tombstones whose client was told, and in all no more tombstones than the
// chip has numbers; at most `kMaxFillers` other sessions precede a StartAuthSession.
// Source: docs/tpm-behaviour.md 10, 11, 24.
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
#include "space/status.h"
#include "space/tpm_port.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::space {

class SessionBook {
 public:
  SessionBook(Books& books, const Chip& chip, const Quota& quota, TpmPort& port, Residency& residency, Parking& parking)
      : books_(books), chip_(chip), quota_(quota), port_(port), residency_(residency), parking_(parking) {}

  // --- One more
  // What a command needs of the chip's active sessions.
  enum class Want : std::uint8_t {
    kNothing,
    kNumber,    // a rebuildable session: a number, until another client needs the number
    kOrdinary,  // one more session that stays: a new session, or a session rebuildable until now
  };
  [[nodiscard]] Want want(SpaceId space, const wire::Command& command) const;
  enum class Admission : std::uint8_t {
    kNow,
    kNotNow,  // possibly later
    kNever,   // the limit of the space or of a pool, or the space was given up
  };
  // For a command that wants a session or number. For a number: even if a client notices (see
  // Parking::number_at). For a pool that is full of sessions without a space: as after `make_room_in_pools`.
  [[nodiscard]] Admission admission(SpaceId space, const wire::Command& command) const;
  // When a number (any, or the given one) is available to a command of `asker` that came at `since`.
  [[nodiscard]] std::optional<std::uint64_t> number_at(std::uint64_t since, OwnerId asker,
                                                       std::optional<std::uint32_t> which) const {
    return which ? parking_.number_at(since, asker, *which) : parking_.number_at(since, asker);
  }
  // The bank for an owner without a kept place. Waiting commands need no new look until the bank changes.
  [[nodiscard]] Bank bank() const { return bank_without(0); }
  // Makes room in the pools of the space for the command, by reclaiming sessions without a space if the rules permit.
  // Comes after admission kNow, if the command wants a session or number.
  void make_room_in_pools(SpaceId space, const wire::Command& command);
  // Arranges, if possible, a number unknown to the space for the next session of the TPM. Comes after admission kNow.
  Status clear_the_way(SpaceId space);
  // Books the session of a successful StartAuthSession, which was handed out and is unwanted until now. Returns the
  // handle for the client. Nullopt: the space knows all numbers; the session stays unwanted.
  std::optional<wire::ClientHandle> book_started(SpaceId space, const wire::Command& command,
                                                 const wire::Response& response);
  // Books the effects of a successful command: on the policies of its sessions, and on the nonces that the client
  // knows.
  void book_policy(SpaceId space, const wire::Command& command);
  void book_uses(SpaceId space, const wire::Command& command, const wire::Response& response);

  // --- Places that stay an owner's (books/kept_places.h)
  // The sessions of a space and its owner before a command, or before the space closes.
  struct Before {
    struct Waited {
      std::uint32_t number = 0;
      std::uint64_t started_at = 0, served_at = 0, tenure = 0;
    };
    OwnerId owner;
    std::uint32_t ordinary = 0;  // the owner's sessions
    std::vector<Waited> waited;  // sessions that the space had waited for
  };
  [[nodiscard]] Before before(SpaceId space) const;
  // Called afterwards: keeps the places of sessions that the client gave back, and uses kept places for new sessions.
  // `created`: the new session, if the command made one.
  void settle_places(const Before& before, Session* created);

  // --- One less
  // The session becomes unwanted.
  void drop(std::uint32_t number) { make_unwanted(books_, number); }
  // Called before the space closes.
  void leave(SpaceId space);
  // Reclaims a session; space/reclaim.h chooses which.
  void take(std::uint32_t number, const wire::Taker& by);
  void take_parked_one(const ParkedKey& key, const wire::Taker& by);
  void take_parked_file_of(const ContextDigest& copy, const wire::Taker& by);

  // --- Reserved sessions
  // SUCCESS, REFERENCE_H0 (no client can use this session) or SESSION_MEMORY (the chip has no session to spare).
  wire::Rc reserve(std::uint32_t number);
  void release(std::uint32_t number);

  // --- Tombstones
  // The client used the handle and got an error: if a tombstone, it is marked as told. (FlushContext removes a
  // tombstone: context_commands.)
  void tell(SpaceId space, std::uint32_t handle);

 private:
  static constexpr int kMaxFillers = 8;

  // As if `left_behind` sessions without a space were gone.
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
