// Repairs the books when they no longer agree with the TPM: another program sent Startup, a hierarchy was emptied, or a
// response was not credible.
//
// Idea: afterwards the books hold the entities still known to a private TPM and the entities with a valid saved copy.
// Lost entities answer REFERENCE_Hx and REFERENCE_Sx from then on.
// Firmware or the kernel can start the TPM between any two commands of the manager, and responses do not show a
// start-up. The first sign may be a new handle already in use in the books. So every new handle goes through
// `hand_out`, and entities created after the start-up are kept. After a TPM Reset no older context loads
// (docs/tpm-behaviour.md 16), and the time of the reset is unknown. But every missing entity was still there when the
// TPM last showed the entity (`seen_at`), so the reset came later. Every entity not shown since is gone as well. Saved
// contexts shown since are doubtful (Books::doubted_at) until they were loaded.
//
// Threads: with the manager. Units: nanoseconds of the manager's clock.
// Limits: a comparison with the TPM costs ReadClock and three lists of handles.
// Source: docs/tpm-behaviour.md 9, 16; Part 1, 12.2 (Startup), Part 3, 24; docs/decisions/0015.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/tpm_port.h"
#include "wire/command.h"

namespace tpmspace::space {

class Recovery {
 public:
  // For repeated power losses, before the client gets an error.
  static constexpr int kMaxStartups = 3;

  Recovery(Books& books, const Chip& chip, TpmPort& port) : books_(books), chip_(chip), port_(port) {}

  // --- Handles
  enum class HandedOut : std::uint8_t {
    kFree,            // the books had the handle as free
    kBooksWereWrong,  // the books had the handle in use, and were corrected; earlier results from the books are void
    kNotBelieved,     // impossible handle, or the TPM lists an unknown entity: the response was wrong
  };
  // The TPM handed out this handle for a new or loaded entity. The entity is booked as unwanted, for the caller to give
  // to a space or to flush. An older entity under the handle is erased.
  HandedOut hand_out(wire::TpmHandle handle);

  // --- Start-ups
  // After INITIALIZE (the TPM lost power): starts the TPM and books the effects. False: the TPM cannot be started.
  bool after_power_loss();
  // A TPM2_Startup succeeded: books the effects.
  void after_startup();
  // The TPM lost an entity, or a response made no sense: asks the TPM for all entities and corrects the books. False:
  // the TPM could not be asked; the books stay in doubt.
  bool resynchronise();
  // A context that was valid at `seen_at` is dead. If the TPM was started meanwhile, books the start-up.
  void note_dead_context(std::uint64_t seen_at);
  // Reads the counters. True: the TPM was started, and the start-up is booked.
  bool notice_start_up();

  // A broken invariant was contained (base/invariant.h), in a command of this space: makes the books consistent and
  // compares them with the TPM. If the books are still wrong, this space loses all its entities and answers
  // SESSION_HANDLES until closed; as the last resort, all spaces lose all entities. No process ends.
  void after_broken_invariant(std::optional<SpaceId> space);

  // After a successful Clear, ChangeEPS, ChangePPS or HierarchyControl: removes the affected entities from every space.
  void after_extensive(const wire::Command& command);

 private:
  using Restarted = wire::Restarted;
  // The entities that the TPM lists: numbers of sessions, and their handles as listed.
  struct Lists {
    std::vector<std::uint32_t> objects, loaded, saved;
    std::set<std::uint32_t> loaded_numbers, saved_numbers;
  };

  // After a start-up, entities that were loaded, or saved, before these times are gone.
  struct Ends {
    std::uint64_t loaded = 0, saved = 0;
  };
  struct Word {
    std::optional<TpmPort::Clocks> clocks;
    Lists lists;
    bool after_doubt = false;  // a response before it was missing or invalid
  };
  [[nodiscard]] Restarted since_last_look(const Word& word) const;
  [[nodiscard]] Restarted since_last_look(const TpmPort::Clocks& clocks) const;
  void book_startup(const TpmPort::Result<TpmPort::Clocks>& clocks, bool kept_saved);
  void book_clocks(const TpmPort::Clocks& clocks);
  void note(Restarted what);
  void note_gone(std::uint64_t seen_at) { gone_after_ = std::max(gone_after_, seen_at); }
  [[nodiscard]] bool has_in_use(wire::TpmHandle handle) const;
  void vacate(wire::TpmHandle handle);
  void vacate_slot(wire::TpmHandle handle);
  void vacate_number(std::uint32_t number);
  [[nodiscard]] std::optional<Lists> read_lists();
  [[nodiscard]] std::optional<Word> ask();
  void take_word(const Word& word);
  [[nodiscard]] bool lists_what_nobody_knows(const Lists& lists) const;
  [[nodiscard]] bool was_there_before_us(std::uint32_t session) const;
  void compare(const Word& word, Restarted restarted);
  void note_what_is_missing(const Lists& lists);
  void compare_objects(const Lists& lists, Restarted restarted, const Ends& ends);
  void compare_sessions(const Word& word, Restarted restarted, const Ends& ends);
  void add_what_was_ours(const Word& word, Restarted restarted);
  [[nodiscard]] bool is_known(std::uint32_t session) const;
  void add_unwanted(const UnwantedSession& session);
  // Moves sessions for which `is_gone` holds from the books to `lost_`, for part_from_lost_sessions.
  template <typename IsGone>
  void lose_sessions(IsGone is_gone) {
    for (auto it = books_.sessions.begin(); it != books_.sessions.end();) {
      const auto here = it++;
      if (!is_gone(here->first, std::as_const(here->second))) continue;
      lost_.push_back(std::move(here->second));
      books_.sessions.erase(here);
    }
  }
  void part_from_lost_sessions(Restarted restarted);
  void forget_everything();
  void forget_all_clients_entities();
  void forget_loaded();
  void forget_objects_that_are_nowhere();
  void drop_hierarchies(std::initializer_list<wire::Hierarchy> hierarchies);
  void flush_unwanted_slots();
  void probe_hierarchies_of_loaded();

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
  // The last time, since the counters were read, at which the TPM showed a now missing entity.
  std::uint64_t gone_after_ = 0;
  std::vector<Session> lost_;  // sessions lost by the TPM and removed from the books
};

}  // namespace tpmspace::space
