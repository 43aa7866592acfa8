// The commands about contexts, as far as they can be answered without moving anything: FlushContext, ContextSave of
// what we hold a valid copy of, ContextLoad of sessions.
//
// Idea: a copy that is still valid is as good as a new one; a session's blob is only looked up, never forwarded,
// because the manager has the newest one (docs/decisions/0002, 0004). What is left goes the way of every other command.
// Threads: with the manager. Errors: a TPM response with our layer.
// Source: Part 3, 28.2-28.4; TPM-RULES 11, 14, 15, 32; TCG TAB and Resource Manager specification, 3.7.
#pragma once

#include <optional>

#include "books/books.h"
#include "books/chip.h"
#include "space/residency.h"
#include "space/tpm_port.h"
#include "wire/command.h"

namespace tpmspace::space {

class ContextCommands {
 public:
  ContextCommands(Books& books, const Chip& chip, TpmPort& port, Residency& residency)
      : books_(books), chip_(chip), port_(port), residency_(residency) {}

  // The whole response; nullopt: not about contexts, or the TPM is needed.
  std::optional<wire::Bytes> answer(SpaceId space, const wire::Command& command);

  // Who saved the session of a ContextLoad that was refused because the space may not load it. Nullopt: nobody that we
  // know of; or the command is another one, or not of sessions.
  [[nodiscard]] std::optional<Holder> saver_of(SpaceId space, const wire::Command& command) const;

 private:
  wire::Bytes flush_context(SpaceId space, const wire::Command& command);
  wire::Bytes flush_object(SpaceId space, wire::ClientHandle handle);
  wire::Bytes flush_session(SpaceId space, std::uint32_t handle);
  wire::Bytes flush_saved_sessions(SpaceId space, std::uint32_t number);
  std::optional<wire::Bytes> save_known_context(SpaceId space, const wire::Command& command);
  std::optional<wire::Bytes> load_session_context(SpaceId space, const wire::Command& command);
  wire::Bytes save_parked(SpaceId space, wire::ClientHandle handle);
  wire::Bytes take_up(SpaceId space, Session& session);

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
  Residency& residency_;
};

}  // namespace tpmspace::space
