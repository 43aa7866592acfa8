// Arithmetic of time. Units: nanoseconds, as everywhere in this room; UINT64_MAX is never.
#pragma once

#include <cstdint>

namespace tpmspace::space {

// The moment `span` after `time`; never, if the sum exceeds the last moment.
[[nodiscard]] constexpr std::uint64_t after(std::uint64_t time, std::uint64_t span) {
  return span > UINT64_MAX - time ? UINT64_MAX : time + span;
}

}  // namespace tpmspace::space
