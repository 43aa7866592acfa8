// A TOML text as a tree of values with their places.
//
// Idea: the TOML library is slow to compile and throws, so only one source file includes the library. All other code
// reads this tree. Values of kinds that no key of ours has (floating point, dates) are kOther.
// Threads: values. Units: lines and columns count from 1. Limits: the reader limits the text's length; the library
// limits the nesting depth of tables and lists (256).
// Errors: "NAME:LINE:COLUMN: sentence".
// Source: TOML 1.0.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace tpmspace::config {

struct Place {
  std::uint32_t line = 0, column = 0;
  auto operator<=>(const Place&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
[[nodiscard]] std::string at(const std::string& name, Place where, std::string_view sentence);

struct TomlMember;
struct TomlNode {
  enum class Kind : std::uint8_t { kOther, kText, kNumber, kFlag, kTable, kList };
  Kind kind = Kind::kOther;
  Place place;
  std::string text;                 // kText
  std::int64_t number = 0;          // kNumber
  bool octal = false;               // written as 0o660
  bool flag = false;                // kFlag
  std::vector<TomlMember> members;  // kTable: ordered by key, each key once
  std::vector<TomlNode> elements;   // kList

  [[nodiscard]] bool is(Kind wanted) const { return kind == wanted; }
  // Null: no member has this key.
  [[nodiscard]] const TomlNode* find(std::string_view key) const;
};
struct TomlMember {
  std::string key;
  Place place;  // of the key
  TomlNode node;
};

// The root table of the text.
[[nodiscard]] tl::expected<TomlNode, std::string> parse_toml(std::string_view text, const std::string& name);

}  // namespace tpmspace::config
