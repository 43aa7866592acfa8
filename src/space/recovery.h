// What to do when the books and the TPM no longer agree: a reset, an emptied hierarchy, an answer nobody can believe.
//
// Idea: afterwards the books say what a private TPM would still know, no more. What is gone answers REFERENCE_Hx and
// REFERENCE_Sx from then on.
// Threads: with the manager. Source: TPM-RULES 9, 16; Part 1, 12.2 (Startup), Part 3, 24.
#pragma once

#include <initializer_list>

#include "space/books.h"
#include "space/chip.h"
#include "space/tpm_port.h"
#include "wire/command.h"

namespace tpmspace::space {

class Recovery {
 public:
  Recovery(Books& books, const Chip& chip, TpmPort& port) : books_(books), chip_(chip), port_(port) {}

  // The TPM said INITIALIZE: it lost power. Starts it and books what that did. False: it cannot be started.
  bool after_power_loss();
  // Somebody's TPM2_Startup succeeded: books what that did.
  void after_startup();
  // Compares the TPM's reset and restart counters with the books; true: it was reset or restarted, and that is booked.
  bool notice_reset();
  // The TPM does not know what it should, or an answer made no sense: asks the TPM what it holds and takes its word.
  // False: it could not be asked; the books stay in doubt.
  bool resynchronise();
  // A successful Clear, ChangeEPS, ChangePPS or HierarchyControl: what it removed leaves every space.
  void after_extensive(const wire::Command& command);

 private:
  void book_clocks(const TpmPort::Clocks& clocks);
  void forget_everything();
  void forget_loaded();
  void drop_hierarchies(std::initializer_list<wire::Hierarchy> hierarchies);
  void flush_unwanted_slots();
  void probe_hierarchies_of_loaded();
  bool compare_objects();
  bool compare_sessions();
  void add_unwanted(UnwantedSession session);

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
};

}  // namespace tpmspace::space
