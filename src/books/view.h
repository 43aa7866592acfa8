// What a space sees of what all spaces share: commands, persistent objects, NV indices, PCRs.
//
// Idea: whoever knows profiles and namespaces makes this value; the manager shows and translates by it. What may be
// done with what is seen is not judged here (guard/verdict.h). A space can have a window of persistent handles of its
// own: a stretch of the chip's, which it knows by other numbers, so that two spaces have different keys under one
// number. Names do not depend on handles, so HMACs and policies hold (TPM-RULES 7).
// Threads: a value, constant once it is shared. Limits: a window has `kWindow` handles.
// Source: TPM 2.0 library, Part 2, 7.2 and 7.8 (persistent handles); Part 1, 16 (Names).
#pragma once

#include <cstdint>
#include <optional>

#include "wire/handle.h"
#include "wire/numbers.h"

namespace tpmspace::space {

struct View {
  static constexpr std::uint32_t kFirstPersistent = wire::kFirstPersistent;
  static constexpr std::uint32_t kWindow = 0x20000;  // those that clients use: owner's and endorsement's keys

  // What GetCapability lists; handles by the numbers that the space knows.
  wire::Numbers commands = {}, persistent = {}, nv = {}, pcrs = {};
  // The chip's number of the space's 0x81000000. 0: there is no window, the numbers are the chip's.
  std::uint32_t persistent_base = 0;

  // Whether the whole window is of persistent handles. A view in use is possible.
  [[nodiscard]] bool is_possible() const;
  bool operator==(const View&) const = default;
};

// The chip's number of a persistent handle of the space, and back. Nullopt: it is outside of the window. A null view
// has none. Precondition: is_persistent(handle.value).
[[nodiscard]] std::optional<wire::TpmHandle> persistent_at_tpm(const View* view, wire::ClientHandle handle);
[[nodiscard]] std::optional<wire::ClientHandle> persistent_in_space(const View* view, wire::TpmHandle handle);

}  // namespace tpmspace::space
