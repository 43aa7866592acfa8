// The error of a word for `policy explain`, and how a word is taken.
//
// Threads: functions of their arguments. Errors: a usage error, to follow the word and a colon.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tpmspace::explain {

// Nullopt: the word is taken.
using UsageError = std::optional<std::string>;

// `wanted`: the error for a word without a value.
template <typename T>
UsageError take_once(std::optional<T> value, std::string_view wanted, std::optional<T>& out) {
  if (!value) return std::string(wanted);
  if (out) return "this is said twice: say it once";
  out = std::move(value);
  return std::nullopt;
}

}  // namespace tpmspace::explain
