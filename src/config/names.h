// Names that people give to profiles, namespaces and listeners.
//
// Threads: functions of their arguments. Limits: limits::kMaxName octets.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/limits.h"

namespace tpmspace::config {

[[nodiscard]] inline bool is_name(std::string_view text) {
  constexpr std::string_view kOctets = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !text.empty() && text.size() <= limits::kMaxName && text.find_first_not_of(kOctets) == std::string_view::npos;
}
// What a name may be, for a sentence.
[[nodiscard]] inline std::string name_rule() {
  return fmt::format("at most {} letters, digits, \"-\", \"_\" and \".\"", limits::kMaxName);
}

}  // namespace tpmspace::config
