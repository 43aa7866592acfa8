// A client's command with other handles, as the TPM shall get it.
//
// Idea: what a command's HMACs cover (the Names of its handles, its parameters) does not change by it; the handle of an
// authorization is not covered, nor is an HMAC itself. Other parameters do change it: they are for commands without
// such an HMAC.
//
// Threads: values.
// Source: TPM 2.0 library, Part 1, 18.8 (authorizations); TPM-RULES 6, 7.
#pragma once

#include <array>

#include "wire/command.h"

namespace tpmspace::wire {

struct Rewrite {
  std::array<std::optional<TpmHandle>, kMaxHandles> handles = {};
  std::array<std::optional<TpmHandle>, kMaxAuthorizations> sessions = {};  // of the authorizations
  std::array<bool, kMaxAuthorizations> without_hmac = {};
  std::optional<Bytes> parameters = {};
};

// What the rewrite does not name stays as it is.
[[nodiscard]] Bytes rewritten(const Command& command, const Rewrite& rewrite);

}  // namespace tpmspace::wire
