// Commands whose parameters mean something else by a space's view: EvictControl through a window, GetCapability of what
// the view hides in part.
//
// Idea: an HMAC covers parameters, so these commands go through only where none does, or where it has no secret and can
// be put right (space/stale_nonces.h). An answer under a session cannot be rewritten (TPM-RULES 8), so a list that the
// view hides something of is refused before the TPM sees the command, as commands that take no sessions are.
// Handles of the handle area are the manager's business. Threads: pure functions; a view may be null.
// Errors: HANDLE for what the window does not have, AUTH_CONTEXT, and what a TPM says of broken parameters.
// Source: Part 3, 28.5 and 30.2; Part 1, 16.7 (cpHash).
#pragma once

#include <optional>

#include "books/view.h"
#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/rc.h"

namespace tpmspace::space {

[[nodiscard]] std::optional<wire::Rc> refusal_by_view(const View* view, const wire::Command& command);
// What the TPM shall get in place of the parameters. Nullopt: they stay. Precondition: it was not refused.
[[nodiscard]] std::optional<wire::Bytes> parameters_at_tpm(const View* view, const wire::Command& command);

}  // namespace tpmspace::space
