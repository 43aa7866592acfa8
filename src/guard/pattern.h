// A pattern for paths: of executables and of cgroups.
//
// Idea: `?` is one character and `*` any number of them, but no slash; `**` is any number of anything; every other
// character is itself. A pattern that ends in "/**" also matches what stands before that: "/system.slice/x.service/**"
// is the unit and all that is below it. Threads: a value.
// Costs: linear for patterns that people write; no recursion, nothing is allocated.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace tpmspace::guard {

class Pattern {
 public:
  explicit Pattern(std::string text) : text_(std::move(text)) {}

  [[nodiscard]] bool matches(std::string_view path) const;
  [[nodiscard]] const std::string& text() const { return text_; }
  bool operator==(const Pattern&) const = default;

 private:
  std::string text_;
};

}  // namespace tpmspace::guard
