// GetCapability as a space sees it: its own transient objects and sessions, and room as the space has it, not the chip.
// (What is the chip's, and shown in part: space/chip_lists.h.)
//
// Idea: a list of handles that are ours to give is answered without the TPM, in pages as a TPM gives them; properties
// that describe room are rewritten in the TPM's answer. A list asked for under a session cannot be rewritten (its
// answer is covered by rpHash, TPM-RULES 8).
// Threads: with the manager. Source: Part 3, 30.2; Part 2, 6.13 and 10.9; TPM-RULES 10, 11.
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
// Nullopt: not a GetCapability, or its parameters are not exactly three integers (the TPM will say what is wrong).
[[nodiscard]] std::optional<CapabilityQuery> capability_query(const wire::Command& command);
// Whether the answer would be a list of transient or session handles.
[[nodiscard]] bool asks_for_our_handles(const CapabilityQuery& query);

// The whole response. Precondition: asks_for_our_handles(query).
[[nodiscard]] wire::Bytes handle_list(const CapabilityQuery& query, const Books& books, SpaceId space);

// The parameters of a successful GetCapability without sessions, with what TPM_CAP_TPM_PROPERTIES says of room for
// objects and sessions, and of how much there is of what the space's view hides, as the space has it. The rest stays.
// Errors: the TPM could not be asked what there is.
[[nodiscard]] TpmPort::Result<wire::Bytes> properties_in_space(wire::ByteView parameters, const Books& books,
                                                               const Chip& chip, SpaceId space, TpmPort& port);

}  // namespace tpmspace::space
