// A saved context as a client or the TPM holds it (TPMS_CONTEXT), as far as it is plain.
//
// Idea: the plain fields tell what it is (TPM-RULES 12); the rest is between the TPM and itself. We never change one
// octet of it: savedHandle and hierarchy are input to its protection.
// Threads: values. Sizes: what a TPM sends, below its buffer size.
// Source: TPM 2.0 library, Part 2, 14.
#pragma once

#include <array>
#include <cstdint>
#include <tl/expected.hpp>

#include "wire/bytes.h"
#include "wire/rc.h"

namespace tpmspace::space {

// SHA-256 over a whole context: how a blob that a client presents is recognised (TPM-RULES 15).
using ContextDigest = std::array<std::uint8_t, 32>;
[[nodiscard]] ContextDigest digest_of(wire::ByteView context);

struct ContextInfo {
  std::uint64_t sequence = 0;
  std::uint32_t saved_handle = 0;
  std::uint32_t hierarchy = 0;

  [[nodiscard]] bool is_session() const;
  [[nodiscard]] bool is_object() const;    // ordinary or stClear
  [[nodiscard]] bool is_sequence() const;  // hash, HMAC or event sequence
  [[nodiscard]] bool is_st_clear() const;  // an object that does not load after a Restart
};

// `context` must be exactly one TPMS_CONTEXT. Errors, as libtpms gives them for ContextLoad's parameter:
// 1DA too short, 95 something follows, 1C4 a savedHandle that nothing can have.
[[nodiscard]] tl::expected<ContextInfo, wire::Rc> read_context(wire::ByteView context);

// Whether a refused ContextLoad of a context of ours means that it will never load again.
[[nodiscard]] bool is_dead_context(wire::Rc code);

}  // namespace tpmspace::space
