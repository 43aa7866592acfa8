// The HMACs of sessions without a secret: the key is empty, so the manager can compute them.
//
// Idea: tpm2-tss before 4.2 sends an HMAC even where a TPM wants none, and checks an HMAC in the response
// (docs/tpm-behaviour.md 29). The manager does the TPM's part with the nonces that the client knows.
// Threads: pure functions. Limits: the hashes of `knows_hash`. Errors: an empty result for any other hash.
// Source: TPM 2.0 library, Part 1, 16.7 (cpHash), 16.8 (rpHash), 17.6.5 (HMAC of a session).
#pragma once

#include <cstdint>
#include <vector>

#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::space {

[[nodiscard]] bool knows_hash(std::uint16_t hash);          // TPM_ALG_ID
[[nodiscard]] std::size_t digest_size(std::uint16_t hash);  // 0: unknown hash

// `nonces`: nonceTPM as the client knows it; for the first session also the nonces of the decrypting and the encrypting
// session, if these are different sessions. `names`: the Names of the command's handles, in order.
[[nodiscard]] wire::Bytes hmac_of_command(std::uint16_t hash, const wire::Command& command,
                                          const std::vector<wire::Bytes>& names, std::size_t authorization,
                                          const std::vector<wire::ByteView>& nonces);
// `command`: the command that the response answers.
[[nodiscard]] wire::Bytes hmac_of_response(std::uint16_t hash, const wire::Command& command,
                                           const wire::Response& response, std::size_t authorization);

}  // namespace tpmspace::space
