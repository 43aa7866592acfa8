// What the chip's dictionary-attack logic protects: which commands could cost a try, and which did.
//
// Idea: a wrong authorization is counted if the entity that a session authorizes is protected, or the session's bind
// entity (TPM-RULES 33, 34). Of a transient object that is known from the template it was made or loaded with; what is
// not known is asked (ReadPublic, NV_ReadPublic), and only for a space whose owner has no tries left. Of a transient
// object the answer is kept; a persistent handle or an NV index may be another one the next time. What cannot be found
// out counts as protected.
// The wrong value for a PIN index is not the chip's count, but its PIN's; one for lockoutAuth makes that unusable. A
// PIN's tries are so few that shares would not save them: which PIN indices it may try at all each space is told.
// Threads: with the manager. Units: TPM commands: at most one for each handle, and what loads an object.
// Source: Part 1, 19.8; Part 2, 8.3.2 (TPMA_OBJECT), 13.4 (TPMA_NV); Part 3, 31.3 (PIN indices).
#pragma once

#include "books/books.h"
#include "space/pin_indices.h"
#include "space/residency.h"
#include "space/tpm_port.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::space {

// What a wrong authorization cost.
enum class Failure : std::uint8_t {
  kNone,
  kCounted,  // TPM_PT_LOCKOUT_COUNTER
  kBeside,   // one of a PIN's tries, or lockoutAuth
};

// Of the object that this command made or loaded.
[[nodiscard]] CountsMisses counts_misses_of_created(const wire::Command& command);
// Whether each use of the session that this StartAuthSession started may count.
[[nodiscard]] bool binds_to_what_counts(const Books& books, SpaceId space, const wire::Command& start);

class Protection {
 public:
  Protection(Books& books, const Chip& chip, TpmPort& port, Residency& residency)
      : books_(books), chip_(chip), port_(port), residency_(residency), pins_(chip, port) {}

  // Whether a wrong authorization in it could cost a try. Precondition: all that it names is in the space.
  bool may_count(SpaceId space, const wire::Command& command);
  // Whether it tries, or binds a session to, a PIN Fail index that the space may not try. Precondition: likewise.
  // Error: the TPM could not say what some index is.
  TpmPort::Result<bool> tries_forbidden_pin(SpaceId space, const wire::Command& command);
  // This command goes to the TPM now, whatever comes of it.
  void about_to_send(const wire::Command& command);
  // What the TPM's refusal of that command cost.
  Failure failure(SpaceId space, const wire::Command& command, wire::Rc code);
  // Success of a command: what it said or did to the chip's counting.
  void book(const wire::Command& command, const wire::Response& response);
  // At the end of a step: asks the chip for its count, if something happened to it that nobody can know.
  void read_if_due();
  // The books are others, and so may be what others did to the TPM meanwhile.
  void forget() { pins_.forget(); }

 private:
  bool tries_auth_value(SpaceId space, const wire::Authorization& authorization);
  bool is_protected(SpaceId space, wire::ClientHandle handle);
  bool object_counts(SpaceId space, wire::ClientHandle handle);
  bool shared_entity_counts(SpaceId space, wire::ClientHandle handle);

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
  Residency& residency_;
  PinIndices pins_;
  bool due_ = false;
};

}  // namespace tpmspace::space
