// A fact about a client, and whether a condition on the fact is met: both have three states.
//
// Idea: "absent" and "could not be read" are different facts. A condition on an absent attribute is not met. A
// condition on an unknown attribute may be met: `Match::kMaybe`, and the guard then gives the least of the client's
// possible rights (guard/rules.h).
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
  // Known to be absent if there is no value.
  [[nodiscard]] static Known of(std::optional<T> value) {
    Known out = none();
    out.value_ = std::move(value);
    return out;
  }

  // True for a value, and for a known absence.
  [[nodiscard]] bool is_known() const { return is_known_; }
  // Nullopt: absent or unknown.
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
