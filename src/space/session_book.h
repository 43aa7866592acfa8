// The session book: who may have one more of the chip's active sessions, who loses one, and under which number.
//
// Idea: three words, kept apart. *Saved*: put away by ContextSave, same number, same nonces, still active (residency).
// *Reclaimed*: taken from its space because somebody waits; a tombstone keeps its number there (TPM-RULES 10, MISSION
// M8). *Unwanted*: nobody's any more, flushed in idle time or when a number is needed.
// A space knows numbers: its tombstones and its owner's client-saved sessions. A TPM gives the lowest free number, and
// a StartAuthSession cannot be sent twice, so the free numbers that the space must not get are occupied first.
//
// Threads: with the manager. Units: sessions; nanoseconds of the manager's clock.
// Errors: response codes without a layer.
// Limits: tombstones of a space whose client was told are at most `kMaxTombstones`; all of them, and fillers, no more
// than the chip has numbers.
// Source: DESIGN, "Sessions"; TPM-RULES 10, 11, 24.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "space/admission.h"
#include "space/books.h"
#include "space/chip.h"
#include "space/residency.h"
#include "space/tpm_port.h"

namespace tpmspace::space {

class SessionBook {
 public:
  SessionBook(Books& books, const Chip& chip, const Quota& quota, TpmPort& port, Residency& residency)
      : books_(books), chip_(chip), quota_(quota), port_(port), residency_(residency) {}

  // --- One more
  enum class Admission : std::uint8_t {
    kNow,
    kNotNow,  // there may be one later
    kNever,   // the space's own limit, or it was given up
  };
  [[nodiscard]] Admission admission(SpaceId space) const;
  // As it is now. Who had to wait need not be looked at again before it has changed.
  [[nodiscard]] Bank bank() const;
  // The next session that the TPM starts has a number that the space may be given. Precondition: admission is kNow.
  wire::Rc clear_the_way(SpaceId space);
  // Success of the space's StartAuthSession. False: the TPM gave a number that this space must not have, or that
  // somebody else has; it is unwanted.
  bool book_started(SpaceId space, std::uint32_t handle, SessionKind kind);

  // --- One less
  // It becomes unwanted.
  void drop(std::uint32_t number) { make_unwanted(books_, number); }
  // The space is about to close.
  void leave(SpaceId space);
  // Takes it from whoever has it; which one: space/reclaim.h.
  void take(std::uint32_t number);
  // Everything of the space is given up (Exhaustion::kClose).
  void give_up(SpaceId space);

  // --- Tombstones
  // The client used it, if it is one, and is refused. (FlushContext buries it: context_commands.)
  void tell(SpaceId space, std::uint32_t handle);

 private:
  static constexpr std::size_t kMaxTombstones = 16;

  [[nodiscard]] bool must_not_get(SpaceId space, std::uint32_t number) const;
  [[nodiscard]] std::optional<std::uint32_t> lowest_free_number(const std::set<std::uint32_t>& of_others) const;
  bool retire_tombstone(Space& space);
  void enforce_abandoned_limits();

  Books& books_;
  const Chip& chip_;
  const Quota& quota_;
  TpmPort& port_;
  Residency& residency_;
};

}  // namespace tpmspace::space
