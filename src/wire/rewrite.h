// A client's command with other handles, for the TPM.
//
// Idea: a rewrite of handles does not change the content that the command's HMACs cover (the Names of the handles, the
// parameters); the handle of an authorization and the HMAC itself are not covered. Other parameters change the covered
// content, so they are only for commands without such an HMAC.
//
// Threads: values.
// Source: TPM 2.0 library, Part 1, 18.8 (authorizations); docs/tpm-behaviour.md 6, 7.
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

// Parts without an entry in the rewrite stay unchanged.
[[nodiscard]] Bytes rewritten(const Command& command, const Rewrite& rewrite);

}  // namespace tpmspace::wire
