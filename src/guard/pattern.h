// A pattern for paths: of executables and of cgroups.
//
// Idea: `?` matches one character and `*` any number of characters, but no slash; `**` matches any number of any
// characters; every other character matches itself. A pattern ending in "/**" also matches the path before the ending:
// "/system.slice/x.service/**" matches the unit and all cgroups below.
// Threads: a value. Costs: linear for patterns that people write; no recursion, no allocation.
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
