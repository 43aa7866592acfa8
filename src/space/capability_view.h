// GetCapability as a space sees it: its own transient objects and sessions, and room as the space has it, not the chip.
//
// Idea: a list of handles that are ours to give is answered without the TPM, in pages as a TPM gives them; properties
// that describe room are rewritten in the TPM's answer. A list asked for under a session cannot be rewritten (its
// answer is covered by rpHash, TPM-RULES 8).
// Threads: pure functions of the books. Source: Part 3, 30.2; Part 2, 6.13 and 10.9; TPM-RULES 10, 11.
#pragma once

#include <cstdint>
#include <optional>

#include "space/books.h"
#include "space/chip.h"
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

// Rewrites what TPM_CAP_TPM_PROPERTIES says of room for objects and sessions, in a successful response without
// sessions. Leaves alone what it does not recognise.
void rewrite_properties(wire::Bytes& response, const Books& books, const Chip& chip, SpaceId space);

}  // namespace tpmspace::space
