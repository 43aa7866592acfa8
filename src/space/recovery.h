// What to do when the books and the TPM no longer agree: somebody started it up, a hierarchy was emptied, an answer
// cannot be believed.
//
// Idea: afterwards the books say what a private TPM would still know, and what we hold saved copies of. What is gone
// answers REFERENCE_Hx and REFERENCE_Sx from then on.
// A TPM can be started up by firmware or the kernel between any two of our commands, and its answers do not say so. The
// first sign may be a handle that the books have in use, handed out anew. So every handle that the TPM hands out goes
// through `hand_out`, and what was created after the start-up is kept. After a TPM Reset no context from before it
// loads (TPM-RULES 16), and nobody knows when it happened. But nothing that is gone now was gone when the TPM last
// showed it
// (`seen_at`), so the reset came later than that; everything that the TPM has not shown since then is gone, too. Saved
// contexts that it has shown since are doubtful (Books::doubted_at) until they were loaded.
//
// Threads: with the manager. Units: nanoseconds of the manager's clock.
// Limits: taking the TPM's word costs ReadClock and three lists of handles.
// Source: TPM-RULES 9, 16; Part 1, 12.2 (Startup), Part 3, 24; docs/decisions/0015.
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
  // Of one power loss after the other, before the client is told.
  static constexpr int kMaxStartups = 3;

  Recovery(Books& books, const Chip& chip, TpmPort& port) : books_(books), chip_(chip), port_(port) {}

  // --- Handles
  enum class HandedOut : std::uint8_t {
    kFree,            // as the books had it
    kBooksWereWrong,  // they had it in use, and have been corrected; what was known of them before is void
    kNotBelieved,     // nothing can be there, or the TPM lists one that nobody knows: the answer was wrong
  };
  // The TPM handed out this handle, for something that is new or was loaded. It is booked as nobody's, so that it can
  // be given to its owner, or is flushed. Whatever the books had under it is gone.
  HandedOut hand_out(wire::TpmHandle handle);

  // --- Start-ups
  // The TPM said INITIALIZE: it lost power. Starts it and books what that did. False: it cannot be started.
  bool after_power_loss();
  // Somebody's TPM2_Startup succeeded: books what that did.
  void after_startup();
  // The TPM does not know what it should, or an answer made no sense: asks the TPM what it holds and takes its word.
  // False: it could not be asked; the books stay in doubt.
  bool resynchronise();
  // A context that was good at `seen_at` is dead. If the TPM was started up meanwhile, that is booked.
  void note_dead_context(std::uint64_t seen_at);
  // Looks at the counters. True: the TPM was started up, and that is booked.
  bool notice_start_up();

  // A successful Clear, ChangeEPS, ChangePPS or HierarchyControl: what it removed leaves every space.
  void after_extensive(const wire::Command& command);

 private:
  using Restarted = wire::Restarted;
  // What the TPM says that it holds. Numbers of sessions; their handles as they were listed.
  struct Lists {
    std::vector<std::uint32_t> objects, loaded, saved;
    std::set<std::uint32_t> loaded_numbers, saved_numbers;
  };

  // Everything that was loaded, or saved, before these times is gone, if there was a start-up.
  struct Ends {
    std::uint64_t loaded = 0, saved = 0;
  };
  struct Word {
    std::optional<TpmPort::Clocks> clocks;
    Lists lists;
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
  void compare(const Lists& lists, Restarted restarted, bool only_reset);
  void note_what_is_missing(const Lists& lists);
  void compare_objects(const Lists& lists, Restarted restarted, const Ends& ends);
  void compare_sessions(const Lists& lists, Restarted restarted, const Ends& ends);
  [[nodiscard]] bool is_known(std::uint32_t session) const;
  void add_unwanted(const UnwantedSession& session);
  // Those that `is_gone` leave the books, for part_from_lost_sessions.
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
  void forget_loaded();
  void forget_objects_that_are_nowhere();
  void drop_hierarchies(std::initializer_list<wire::Hierarchy> hierarchies);
  void flush_unwanted_slots();
  void probe_hierarchies_of_loaded();

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
  // Since the counters were read: the TPM showed something at this time that is gone now.
  std::uint64_t gone_after_ = 0;
  std::vector<Session> lost_;  // that the TPM does not have any more; they have left the books
};

}  // namespace tpmspace::space
