// What is known of a client, and whether a condition on it is met: both have three states.
//
// Idea: "there is none" and "could not be read" are different facts. A condition on something that is absent is not
// met. A condition on something unknown may be met: `Match::kMaybe`, and the guard then gives the least of what the
// client could have got (guard/rules.h).
// Threads: values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace tpmspace::guard {

template <typename T>
class Known {
 public:
  Known() = default;                                             // unknown
  Known(T value) : is_known_(true), value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): it is a value
  [[nodiscard]] static Known none() {
    Known out;
    out.is_known_ = true;
    return out;
  }
  // None if there is no value.
  [[nodiscard]] static Known of(std::optional<T> value) {
    Known out = none();
    out.value_ = std::move(value);
    return out;
  }

  // What it is, or that there is none.
  [[nodiscard]] bool is_known() const { return is_known_; }
  // Nullopt: there is none, or it is unknown.
  [[nodiscard]] const std::optional<T>& value() const { return value_; }

  bool operator==(const Known&) const = default;

 private:
  bool is_known_ = false;
  std::optional<T> value_;
};

enum class Match : std::uint8_t { kNo, kMaybe, kYes };
[[nodiscard]] constexpr Match match_if(bool yes) {
  return yes ? Match::kYes : Match::kNo;
}
// Both conditions.
[[nodiscard]] constexpr Match operator&(Match a, Match b) {
  return std::min(a, b);
}

}  // namespace tpmspace::guard
