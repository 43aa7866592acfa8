// Rebuilt sessions, whose nonces the client does not know yet. Commands that would corrupt data or move the
// dictionary-attack counter never reach the TPM; harmless mismatches are corrected.
//
// Idea: a client's parameter encryption, and an HMAC with a secret, depend on nonces; with other nonces the TPM would
// decrypt wrong data or count a failure. Such commands are answered as for a reclaimed session. An HMAC without a
// secret (tpm2-tss before 4.2) is checked as the TPM would, removed from the command, and added to the response. With
// the response the client gets the new nonce, and the session is no longer stale. A parked session counts as stale,
// because it will be after the rebuild.
//
// Threads: with the manager.
// Errors: response codes without a layer.
// Source: docs/tpm-behaviour.md 29, 30; Part 1, 17.6 and 21.
#pragma once

#include <array>
#include <optional>
#include <tl/expected.hpp>

#include "books/books.h"
#include "space/residency.h"
#include "space/tpm_port.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::space {

// For a command that must not reach the TPM: REFERENCE_Hx or REFERENCE_Sx.
[[nodiscard]] std::optional<wire::Rc> refusal_by_nonces(const Books& books, SpaceId space,
                                                        const wire::Command& command);

// Whether an HMAC that the TPM will check, or an audit, covers the command's handles (docs/tpm-behaviour.md 7).
[[nodiscard]] bool numbers_are_covered(const Books& books, SpaceId space, const wire::Command& command);

class StaleNonces {
 public:
  StaleNonces(Books& books, TpmPort& port) : books_(books), port_(port) {}

  using Hmacs = std::array<bool, wire::kMaxAuthorizations>;
  // The HMACs to remove; BAD_AUTH for a wrong HMAC. Asks the TPM for Names if needed. Precondition: no session of the
  // command is parked. `parameters_change`: the TPM gets other parameters than the client sent, so no HMAC may reach
  // the TPM; AUTH_CONTEXT for an HMAC whose key is not empty.
  tl::expected<Hmacs, wire::Rc> check(SpaceId space, const wire::Command& command, bool parameters_change);
  // Adds HMACs to the response. Precondition: success; the sessions are still booked.
  void answer(SpaceId space, const wire::Command& command, const Hmacs& taken_off, wire::Response& response) const;

 private:
  tl::expected<std::vector<wire::Bytes>, wire::Rc> names_of(SpaceId space, const wire::Command& command);
  [[nodiscard]] std::vector<wire::ByteView> nonces_for(SpaceId space, const wire::Command& command,
                                                       std::size_t authorization) const;

  Books& books_;
  TpmPort& port_;
};

}  // namespace tpmspace::space
