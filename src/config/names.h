// Names that people give to profiles, namespaces and listeners.
//
// Threads: functions of their arguments. Limits: limits::kMaxName bytes.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/limits.h"

namespace tpmspace::config {

[[nodiscard]] inline bool is_name(std::string_view text) {
  constexpr std::string_view kBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !text.empty() && text.size() <= limits::kMaxName && text.find_first_not_of(kBytes) == std::string_view::npos;
}
// The rule for names, as part of a sentence.
[[nodiscard]] inline std::string name_rule() {
  return fmt::format("at most {} letters, digits, \"-\", \"_\" and \".\"", limits::kMaxName);
}

}  // namespace tpmspace::config
