// Users and groups on a command line: by name, or by number.
//
// Idea: a name precedes a number, since a name may consist of digits.
// Threads: one; asks the system's databases, which may take time.
// Errors: nullopt: no such user or group. Source: getpwnam(3), getgrnam(3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tpmspace::tool {

[[nodiscard]] std::optional<std::uint32_t> user_named(const std::string& text);
[[nodiscard]] std::optional<std::uint32_t> group_named(const std::string& text);

// The whole text must be a number without a sign.
[[nodiscard]] std::optional<std::uint32_t> number_of(std::string_view text, int base);

}  // namespace tpmspace::tool
