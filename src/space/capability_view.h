// GetCapability as a space sees it: the space's own transient objects and sessions, and the space's room instead of the
// chip's. (Lists of shared entities: space/chip_lists.h.)
//
// Idea: the manager answers lists of virtual handles without the TPM, in pages as a TPM does; the manager rewrites
// properties that describe room in the TPM's response. A list that was requested under a session cannot be rewritten,
// because rpHash covers the response (docs/tpm-behaviour.md 8).
// Threads: with the manager. Source: Part 3, 30.2; Part 2, 6.13 and 10.9; docs/tpm-behaviour.md 10, 11.
#pragma once

#include <cstdint>
#include <optional>

#include "books/books.h"
#include "books/chip.h"
#include "space/tpm_port.h"
#include "wire/bytes.h"
#include "wire/command.h"

namespace tpmspace::space {

struct CapabilityQuery {
  std::uint32_t capability = 0;
  std::uint32_t property = 0;
  std::uint32_t count = 0;
};
// Nullopt: not a GetCapability, or the parameters are not exactly three integers (the TPM reports the error).
[[nodiscard]] std::optional<CapabilityQuery> capability_query(const wire::Command& command);
// Whether the response would be a list of transient or session handles.
[[nodiscard]] bool asks_for_our_handles(const CapabilityQuery& query);

// The whole response. Precondition: asks_for_our_handles(query).
[[nodiscard]] wire::Bytes handle_list(const CapabilityQuery& query, const Books& books, SpaceId space);

// The parameters of a successful GetCapability without sessions, as the space sees them. Of TPM_CAP_TPM_PROPERTIES, the
// room for objects and sessions and the counts of entities that the view hides are replaced; the rest stays. Errors:
// the TPM could not be asked for the counts.
[[nodiscard]] TpmPort::Result<wire::Bytes> properties_in_space(wire::ByteView parameters, const Books& books,
                                                               const Chip& chip, SpaceId space, TpmPort& port);

}  // namespace tpmspace::space
