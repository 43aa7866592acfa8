// The plain part of a saved context (TPMS_CONTEXT) as a client or the TPM holds it.
//
// Idea: the plain fields tell the kind of the context (docs/tpm-behaviour.md 12); only the TPM can read the rest.
// tpmspace changes no byte of a context: its protection covers savedHandle and hierarchy.
// Threads: values.
// Limits: a context is smaller than the TPM's buffer.
// Source: TPM 2.0 library, Part 2, 14.
#pragma once

#include <array>
#include <cstdint>
#include <tl/expected.hpp>

#include "wire/bytes.h"
#include "wire/rc.h"

namespace tpmspace::space {

// SHA-256 over a whole context: recognises a context that a client presents (docs/tpm-behaviour.md 15).
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

// `context` must be exactly one TPMS_CONTEXT. Errors, as from libtpms for the parameter of ContextLoad: 1DA too short,
// 95 trailing bytes, 1C4 an impossible savedHandle.
[[nodiscard]] tl::expected<ContextInfo, wire::Rc> read_context(wire::ByteView context);

// Whether the error code of a ContextLoad means that this context of ours will never load again.
[[nodiscard]] bool is_dead_context(wire::Rc code);

}  // namespace tpmspace::space
