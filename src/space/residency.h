// Which entities occupy the TPM's few slots, and how another entity gets a slot: the pager.
//
// Idea: no entity moves until a slot is needed. Unwanted entities go first, then the least recently used. The context
// of an object is saved once and reused; the context of a session is new each time. Saved sessions must not exceed the
// context gap (docs/tpm-behaviour.md 25, 26), so every save checks the oldest sessions. If an entity cannot be evicted
// now, the next is tried.
// Threads: with the manager. The books change only after the TPM has confirmed.
// Errors: wire::rc::kSuccess or the code of the failure; OBJECT_MEMORY and SESSION_MEMORY if all loaded entities are
// pinned. A `Status` that starts over: the TPM handed out a handle in use, and the books were corrected, so entities
// prepared by the caller may be gone.
#pragma once

#include <cstdint>
#include <optional>
#include <tl/expected.hpp>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/recovery.h"
#include "space/status.h"
#include "space/tpm_port.h"

namespace tpmspace::space {

class Residency {
 public:
  Residency(Books& books, const Chip& chip, TpmPort& port, Recovery& recovery)
      : books_(books), chip_(chip), port_(port), recovery_(recovery) {}

  // Entities last used at this tick stay loaded. 0: no entity is pinned.
  void pin(std::uint64_t tick) { pinned_tick_ = tick; }
  [[nodiscard]] bool is_pinned(const Session& session) const { return session.reserved || pinned(session.last_use); }

  // Evicts until `wanted` slots are free.
  wire::Rc make_object_room(std::uint32_t wanted);
  wire::Rc make_session_room(std::uint32_t wanted);
  // Evicts one more entity even if the books show a free slot (for a TPM that answered otherwise).
  wire::Rc evict_object();
  wire::Rc evict_session();

  // Loads a booked object. Returns at once if it is loaded.
  Status load_object(SpaceId space, wire::ClientHandle handle);
  // Loads a booked session. If a refresh finds the session dead, the session leaves the books and the
  // result is a code of a dead context.
  wire::Rc load_session(std::uint32_t number);

  wire::Rc save_session(Session& session);
  // Books a new context of a session that has left its slot.
  void book_saved(Session& session, wire::Bytes context);
  // The context gap: refreshes at most `kRefreshesPerSave` of the oldest sessions, more if the end is near.
  void keep_gap();
  wire::Rc refresh_oldest();

  // Starts and saves an unwanted session, which only occupies the number that the TPM gave.
  tl::expected<std::uint32_t, Status> add_filler();

  // Flushes unwanted entities: all objects; one session (false: no session was flushed).
  void flush_unwanted_objects();
  bool flush_unwanted_session();
  // No effect if no unwanted session has the number: it was flushed meanwhile.
  wire::Rc flush_unwanted_session_of(std::uint32_t number, wire::Cause cause);
  // As Recovery::hand_out, for handles that the manager asked for: SUCCESS, start over, or FAILURE (not credible).
  Status hand_out(wire::TpmHandle handle);
  // Gives the space a handle that was handed out and is unwanted until now.
  void give_slot(wire::TpmHandle tpm, SpaceId space, wire::ClientHandle object);

  // A warning of the TPM (busy, no memory for this entity, cancelled) does not exclude success with the next entity.
  [[nodiscard]] static bool is_for_another_try(wire::Rc code);

  // A client flushes its entity: the entity leaves the books, and the TPM if loaded. If the TPM refuses now, the entity
  // becomes unwanted, for idle work to flush.
  void flush_object_of_client(SpaceId space, wire::ClientHandle handle);
  // The same for a session; `cause`: kClient or kReclaim.
  void flush_session(std::uint32_t number, wire::Cause cause);

  // Loads and saves again one session, possibly ended by a reset. False: none, or not loadable now.
  bool check_doubtful_session();
  // One piece of idle work (flushes an unwanted entity, or refreshes when half of the gap is used up).
  bool tidy();
  [[nodiscard]] std::size_t unwanted() const;
  // Saves or flushes one loaded entity; false: no entity is loaded.
  bool put_away();
  // How long a loaded entity without a saved copy must be unused: an object (never a sequence, whose copy is valid only
  // until the next use, docs/tpm-behaviour.md 14) or a session. Nanoseconds.
  struct Unused {
    std::uint64_t object_for = 0, session_for = 0;
  };
  // Saves one such entity; an object stays loaded. Nullopt: none.
  std::optional<wire::Rc> save_unused(const Unused& what);
  // When the next such object and session were last used.
  struct NextUnused {
    std::optional<std::uint64_t> object, session;
  };
  [[nodiscard]] NextUnused next_unused() const;
  // On a chip with other users: frees as many slots as Chip::keep_free_* demands.
  void restore_free_places();

  // For a saved session whose context is dead.
  void drop_dead_session(std::uint32_t number);
  // Removes an object from its space; its slot, if any, becomes unwanted.
  void drop_object(SpaceId space, wire::ClientHandle handle);

 private:
  void note_unknown(wire::Rc code);
  wire::Rc distrust();
  wire::Rc save_copy(const Slot& slot);
  bool check_doubtful_object();
  [[nodiscard]] bool pinned(std::uint64_t last_use) const { return pinned_tick_ != 0 && last_use == pinned_tick_; }
  [[nodiscard]] const Slot* slot_without_copy() const;
  [[nodiscard]] Session* loaded_session_that_may_leave() const;
  // The entities that may be evicted, in order.
  std::vector<wire::TpmHandle> objects_to_evict() const;
  std::vector<std::uint32_t> sessions_to_evict() const;  // numbers
  Session* oldest_saved();
  [[nodiscard]] std::uint64_t gap() const;
  wire::Rc empty_slot(std::size_t index, wire::Cause cause);
  wire::Rc flush_unwanted_session_at(std::size_t index, wire::Cause cause);

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
  Recovery& recovery_;
  std::uint64_t pinned_tick_ = 0;
};

}  // namespace tpmspace::space
