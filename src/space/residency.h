// What is in the TPM's few places, and how something else gets in: the pager.
//
// Idea: nothing moves until a place is needed; then what was not used longest goes first (after what nobody wants any
// more). An object's context is saved once and used again; a session's is new each time. Saved sessions must not fall
// too far behind each other (the context gap, TPM-RULES 25-26): every save looks after the oldest.
// One that will not leave now does not stop the others: the next one is tried.
// Threads: with the manager. The books change only after the TPM has confirmed.
// Errors: wire::rc::kSuccess or the code that says why not; kBooksWereWrong; OBJECT_MEMORY and SESSION_MEMORY when
// everything that is loaded is pinned.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/recovery.h"
#include "space/tpm_port.h"

namespace tpmspace::space {

class Residency {
 public:
  // The TPM handed out a handle that the books had in use: they were wrong and have been corrected, so whatever the
  // caller had made ready may be gone. Start over. No TPM says this.
  static constexpr wire::Rc kBooksWereWrong = 0xFFFFFFFD;

  Residency(Books& books, const Chip& chip, TpmPort& port, Recovery& recovery)
      : books_(books), chip_(chip), port_(port), recovery_(recovery) {}

  // Whatever was last used at this tick stays where it is. 0: nothing is pinned.
  void pin(std::uint64_t tick) { pinned_tick_ = tick; }
  [[nodiscard]] bool is_pinned(const Session& session) const { return session.reserved || pinned(session.last_use); }

  // Until so many places are free.
  wire::Rc make_object_room(std::uint32_t wanted);
  wire::Rc make_session_room(std::uint32_t wanted);
  // One more leaves, also if we think that there is room (the TPM said otherwise).
  wire::Rc evict_object();
  wire::Rc evict_session();

  // Precondition: the object is booked in that space. Returns at once if it is loaded.
  wire::Rc load_object(SpaceId space, wire::ClientHandle handle);
  // Precondition: that number is booked. It may be gone afterwards (a refresh found it dead): then the code is a dead
  // context's.
  wire::Rc load_session(std::uint32_t number);

  wire::Rc save_session(Session& session);
  // Books a context that the TPM made for a session; the session has left its place.
  void book_saved(Session& session, wire::Bytes context);
  // The context gap: at most `kRefreshesPerSave` of the oldest are refreshed, more if the end is near.
  void keep_gap();
  wire::Rc refresh_oldest();

  // Starts a session that nobody wants, and saves it: it only occupies the number that the TPM gave it.
  TpmPort::Result<std::uint32_t> add_filler();

  // What nobody wants leaves the TPM: all objects; one session (false: none was flushed).
  void flush_unwanted_objects();
  bool flush_unwanted_session();
  wire::Rc flush_unwanted_session_of(std::uint32_t number, wire::Cause cause);  // Precondition: it is one
  // As Recovery::hand_out, for what we asked the TPM for: kSuccess, kBooksWereWrong, or FAILURE: it is not believed.
  wire::Rc hand_out(wire::TpmHandle handle);
  // What was handed out, and is nobody's until now.
  void give_slot(wire::TpmHandle tpm, SpaceId space, wire::ClientHandle object);

  // A warning of the TPM (it is busy, has no memory for that one, was cancelled) says nothing about the next one.
  [[nodiscard]] static bool is_for_another_try(wire::Rc code);

  // A client flushes what it holds: it leaves the books, and the TPM if it is there. What the TPM will not let go of
  // now becomes nobody's, for idle work to try again.
  void flush_object_of_client(SpaceId space, wire::ClientHandle handle);
  // Likewise; `cause`: kClient, or kReclaim.
  void flush_session(std::uint32_t number, wire::Cause cause);

  // One saved session of which nobody knows whether a reset has ended it is loaded and saved again. False: there is
  // none, or it cannot be loaded now.
  bool check_doubtful_session();
  // One piece of idle work (a flush of what nobody wants, or a refresh when half of the gap is used up).
  bool tidy();
  [[nodiscard]] std::size_t unwanted() const;
  // Puts one loaded thing away; false: nothing is loaded.
  bool put_away();
  // What is in the TPM and has no saved copy: an object (never a sequence: its copy is only good until its next use,
  // TPM-RULES 14) or a session that was not used for so long. Nanoseconds.
  struct Unused {
    std::uint64_t object_for = 0, session_for = 0;
  };
  // Saves one of them; the object stays loaded. Nullopt: there is none.
  std::optional<wire::Rc> save_unused(const Unused& what);
  // When the object and the session were used that will be the next ones.
  struct NextUnused {
    std::optional<std::uint64_t> object, session;
  };
  [[nodiscard]] NextUnused next_unused() const;
  // For a chip that others use as well: as many places free again as Chip::keep_free_* says.
  void restore_free_places();

  // The context of a saved session is dead.
  void drop_dead_session(std::uint32_t number);
  // Takes an object out of its space; its slot, if it has one, becomes nobody's.
  void drop_object(SpaceId space, wire::ClientHandle handle);

 private:
  void note_unknown(wire::Rc code);
  wire::Rc distrust();
  wire::Rc save_copy(const Slot& slot);
  bool check_doubtful_object();
  [[nodiscard]] bool pinned(std::uint64_t last_use) const { return pinned_tick_ != 0 && last_use == pinned_tick_; }
  [[nodiscard]] const Slot* slot_without_copy() const;
  [[nodiscard]] Session* loaded_session_that_may_leave() const;
  // What may leave, in the order in which it should.
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
