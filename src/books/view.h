// The visible part of the shared entities: commands, persistent objects, NV indices, PCRs.
//
// Idea: the rooms for profiles and namespaces make this value; the manager filters and translates by it. Whether a
// visible entity may be used is decided elsewhere (guard/verdict.h). A space can have a window of persistent handles: a
// range of the chip's handles under other numbers, so two spaces have different keys under one number. Names do not
// depend on handles, so HMACs and policies stay valid (docs/tpm-behaviour.md 6).
// Threads: a value, constant once shared. Limits: a window has `kWindow` handles.
// Source: TPM 2.0 library, Part 2, 7.2 and 7.8 (persistent handles); Part 1, 16 (Names).
#pragma once

#include <cstdint>
#include <optional>

#include "wire/handle.h"
#include "wire/numbers.h"

namespace tpmspace::space {

struct View {
  static constexpr std::uint32_t kFirstPersistent = wire::kFirstPersistent;
  static constexpr std::uint32_t kWindow =
      0x20000;  // the handles that clients use: keys of the owner and endorsement hierarchies

  // What GetCapability lists; handles by the space's numbers.
  wire::Numbers commands = {}, persistent = {}, nv = {}, pcrs = {};
  // The chip's number of the space's 0x81000000. 0: no window, the numbers are the chip's.
  std::uint32_t persistent_base = 0;

  // Whether the whole window consists of persistent handles. Every view in use is possible.
  [[nodiscard]] bool is_possible() const;
  bool operator==(const View&) const = default;
};

// Translates a persistent handle from the space's number to the chip's, and back. Nullopt: outside of the window. A
// null view has no window. Precondition: is_persistent(handle.value).
[[nodiscard]] std::optional<wire::TpmHandle> persistent_at_tpm(const View* view, wire::ClientHandle handle);
[[nodiscard]] std::optional<wire::ClientHandle> persistent_in_space(const View* view, wire::TpmHandle handle);

}  // namespace tpmspace::space
