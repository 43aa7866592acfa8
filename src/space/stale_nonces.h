// Sessions that were made again have nonces that their clients do not know yet. What would corrupt data or move the
// dictionary-attack counter for it never reaches the TPM; what only fails to fit is put right.
//
// Idea: a client's parameter encryption, and an HMAC with a secret, depend on nonces; the TPM would decrypt to
// something else, or count a failure. Such commands are answered as those on a session that was taken. An HMAC without
// a secret (tpm2-tss before 4.2) is checked as the TPM would check it, taken off, and put on the answer. With the
// answer the client has the new nonce, and nothing here concerns the session any more. A parked session will be such a
// one.
//
// Threads: with the manager.
// Errors: response codes without a layer.
// Source: TPM-RULES 29, 30; Part 1, 17.6 and 21.
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

class StaleNonces {
 public:
  StaleNonces(Books& books, TpmPort& port) : books_(books), port_(port) {}

  // What must not reach the TPM: REFERENCE_Hx or REFERENCE_Sx.
  [[nodiscard]] std::optional<wire::Rc> refusal(SpaceId space, const wire::Command& command) const;

  // Whether an HMAC that the TPM will check, or an audit, covers the command's handles (TPM-RULES 7).
  [[nodiscard]] bool numbers_are_covered(SpaceId space, const wire::Command& command) const;

  using Hmacs = std::array<bool, wire::kMaxAuthorizations>;
  // Those that are to be taken off; BAD_AUTH for a wrong one. Precondition: nothing is parked or in the way any more.
  // Asks the TPM for Names if it must. `parameters_change`: the TPM gets others than the client wrote, so no HMAC may
  // reach it; AUTH_CONTEXT for one whose key is not empty.
  tl::expected<Hmacs, wire::Rc> check(SpaceId space, const wire::Command& command, bool parameters_change);
  // Puts them on the answer. Precondition: success; the sessions are still booked.
  void answer(SpaceId space, const wire::Command& command, const Hmacs& taken_off, wire::Response& response) const;

 private:
  [[nodiscard]] bool is_stale(SpaceId space, std::uint32_t handle) const;
  tl::expected<std::vector<wire::Bytes>, wire::Rc> names_of(SpaceId space, const wire::Command& command);
  [[nodiscard]] std::vector<wire::ByteView> nonces_for(SpaceId space, const wire::Command& command,
                                                       std::size_t authorization) const;

  Books& books_;
  TpmPort& port_;
};

}  // namespace tpmspace::space
