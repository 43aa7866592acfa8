// The context commands that can be answered without the TPM: FlushContext, ContextSave of an entity with a valid copy,
// ContextLoad of sessions.
//
// Idea: a valid copy is as good as a new one. A session's blob is only looked up, never forwarded, because the manager
// has the newest context (docs/decisions/0002, 0004). All other cases are handled like any other command.
// Threads: with the manager. Errors: a TPM response from layer 11.
// Source: Part 3, 28.2-28.4; docs/tpm-behaviour.md 11, 14, 15, 32; TCG TAB and Resource Manager specification, 3.7.
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

  // The whole response; nullopt: not a context command, or the TPM is needed.
  std::optional<wire::Bytes> answer(SpaceId space, const wire::Command& command);

  // For a ContextLoad refused because the space may not load the session: the holder that saved the session. Nullopt:
  // no known holder, another command, or not a session context.
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
