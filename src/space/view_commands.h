// Commands whose parameters a space's view changes: EvictControl through a window, GetCapability of a list that the
// view hides in part.
//
// Idea: an HMAC covers parameters, so these commands pass only without an HMAC, or with an HMAC that has no secret and
// can be replaced (space/stale_nonces.h). A response under a session cannot be rewritten (docs/tpm-behaviour.md 8), so
// a list with hidden entries is then refused before the TPM sees the command, as for commands that accept no sessions.
// The manager translates the handle area.
// Threads: pure functions; a view may be null.
// Errors: HANDLE for a handle outside of the window, AUTH_CONTEXT, and the TPM's codes for broken parameters.
// Source: Part 3, 28.5 and 30.2; Part 1, 16.7 (cpHash).
#pragma once

#include <optional>

#include "books/view.h"
#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/rc.h"

namespace tpmspace::space {

[[nodiscard]] std::optional<wire::Rc> refusal_by_view(const View* view, const wire::Command& command);
// The parameters for the TPM in place of the client's. Nullopt: unchanged. Precondition: the command was not refused.
[[nodiscard]] std::optional<wire::Bytes> parameters_at_tpm(const View* view, const wire::Command& command);

}  // namespace tpmspace::space
