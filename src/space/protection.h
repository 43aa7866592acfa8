// The chip's dictionary-attack logic: which commands could cost a try, and which did.
//
// Idea: a wrong authorization counts if the authorized entity or the session's bind entity is protected
// (docs/tpm-behaviour.md 33, 34). For a transient object, the template in the command that made or loaded the object
// tells. If unknown, the manager asks the chip (ReadPublic, NV_ReadPublic), and only for a space whose owner has no
// tries left. The answer is kept for a transient object; a persistent handle or an NV index may name another entity the
// next time. An entity counts as protected if the manager cannot find out.
// A wrong value for a PIN index does not raise the chip's count, but the PIN's; a wrong value for lockoutAuth makes
// lockoutAuth unusable. A PIN has so few tries that shares would not protect them, so each space has a list of the PIN
// indices that the space may try.
// Threads: with the manager.
// Limits: at most one TPM command for each handle, and the commands that load an object.
// Source: Part 1, 19.8; Part 2, 8.3.2 (TPMA_OBJECT), 13.4 (TPMA_NV); Part 3, 31.3 (PIN indices).
#pragma once

#include "books/books.h"
#include "space/pin_indices.h"
#include "space/residency.h"
#include "space/tpm_port.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::space {

// The cost of a wrong authorization.
enum class Failure : std::uint8_t {
  kNone,
  kCounted,  // TPM_PT_LOCKOUT_COUNTER
  kBeside,   // one try of a PIN, or lockoutAuth
};

// For the object that this command made or loaded.
[[nodiscard]] CountsMisses counts_misses_of_created(const wire::Command& command);
// Whether each use of the session that this StartAuthSession started may count.
[[nodiscard]] bool binds_to_what_counts(const Books& books, SpaceId space, const wire::Command& start);

class Protection {
 public:
  Protection(Books& books, const Chip& chip, TpmPort& port, Residency& residency)
      : books_(books), chip_(chip), port_(port), residency_(residency), pins_(chip, port) {}

  // Whether a wrong authorization in the command could cost a try. A handle without an entity in the space costs none.
  bool may_count(SpaceId space, const wire::Command& command);
  // Whether the command tries, or binds a session to, a PIN Fail index that the space may not try. Error: the TPM could
  // not tell the type of an index.
  TpmPort::Result<bool> tries_forbidden_pin(SpaceId space, const wire::Command& command);
  // Called before the command is sent, whatever the result.
  void about_to_send(const wire::Command& command);
  // The cost of the error code with which the TPM refused that command.
  Failure failure(SpaceId space, const wire::Command& command, wire::Rc code);
  // Books what a successful command reported or changed of the chip's counting.
  void book(const wire::Command& command, const wire::Response& response);
  // At the end of a step: reads the chip's count, if a change of unknown size has happened.
  void read_if_due();
  // The books were replaced, and other programs may have used the TPM meanwhile.
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
