// One command that was sent to a TPM, and why: the unit of every account of cost. A value, no I/O.
// Units: nanoseconds of the clock that the sender was given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "wire/rc.h"

namespace tpmspace::wire {

enum class Cause : std::uint8_t {
  kClient,   // a client's own command (re-sent ones count again)
  kSave,     // ContextSave to make room
  kLoad,     // ContextLoad to bring back what a command needs
  kFlush,    // FlushContext to make room, after a save or of what nobody needs any more
  kRefresh,  // ContextLoad and ContextSave of the oldest session, so that the context gap stays open
  kProbe,    // Startup, ReadClock, GetCapability: finding out what the TPM did
};
inline constexpr std::size_t kCauses = 6;

struct TpmUse {
  std::uint32_t code = 0;  // command code
  Cause cause = Cause::kClient;
  Rc rc = 0;  // kFailure from our layer when there was no answer
  std::uint64_t nanoseconds = 0;
};

}  // namespace tpmspace::wire
