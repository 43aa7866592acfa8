// Saved contexts: sealing contexts that leave the TPM, and opening contexts that come back.
//
// Idea: the same checks in the same order as the reference code. The integrity value depends on the hierarchy's proof,
// on the count of resets, for stClear objects on the count of restarts, on sequence and savedHandle, and on the
// content; so a changed blob fails, and so does one that the chip has outlived. Threads: none. Sizes: `padding` bytes
// are added to the content, so that blobs can be as large as a real TPM's. Source: TPM 2.0 library, Part 2, 14
// (TPMS_CONTEXT); Part 3, 28.2 and 28.3; tpm-behaviour 12 to 16.
#pragma once

#include <cstdint>
#include <tl/expected.hpp>

#include "chip_state.h"
#include "wire/bytes.h"
#include "wire/rc.h"

namespace tpmspace::simulation {

inline constexpr std::uint32_t kSavedObject = 0x80000000;
inline constexpr std::uint32_t kSavedSequence = 0x80000001;
inline constexpr std::uint32_t kSavedStClear = 0x80000002;

struct OpenedContext {
  std::uint64_t sequence = 0;
  std::uint32_t saved_handle = 0;
  std::uint32_t hierarchy = 0;
  wire::Bytes content;
};

// A TPMS_CONTEXT.
[[nodiscard]] wire::Bytes seal_context(ChipState& chip, const OpenedContext& context, std::size_t padding);
// The parameters of a ContextLoad, `sessions` the range of session numbers. Errors are complete response codes.
[[nodiscard]] tl::expected<OpenedContext, wire::Rc> open_context(ChipState& chip, wire::ByteView parameters,
                                                                 std::uint32_t sessions);

}  // namespace tpmspace::simulation
