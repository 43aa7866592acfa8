// A time as text: RFC 3339, UTC, milliseconds: "2026-11-30T09:22:39.123Z".
//
// Threads: a function of its argument.
#pragma once

#include <chrono>
#include <string>

namespace tpmspace::log {

[[nodiscard]] std::string timestamp(std::chrono::system_clock::time_point time);

}  // namespace tpmspace::log
