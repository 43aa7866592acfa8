// From a table of the configuration to values: the keys of a table, and the sentences about wrong values.
//
// Idea: an array of keys describes a table; each key has a function that takes its value and stores the result. Of all
// mistakes, the first in the file is kept. The key's name begins the sentence, and a `Fault` ends the sentence.
// Threads: values; functions of their arguments. Units: durations in nanoseconds.
// Errors: "NAME:LINE:COLUMN: sentence": the failure, and the right form.
#pragma once

#include <fmt/format.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/toml_tree.h"
#include "guard/profile.h"

namespace tpmspace::config {

// The right form of a value.
struct Wrong {
  Wrong(const char* sentence) : what(sentence) {}                                       // NOLINT: it is a sentence
  Wrong(std::string sentence, Place at = {}) : what(std::move(sentence)), place(at) {}  // NOLINT: likewise

  std::string what;
  Place place;  // line 0: the beginning of the value
};
// Nullopt: the value was right and is stored.
using Fault = std::optional<Wrong>;

class Faults {
 public:
  explicit Faults(std::string file) : file_(std::move(file)) {}

  void add(Place where, std::string_view sentence);
  // About the value of a key.
  void add(const TomlNode& node, std::string_view key, const Wrong& wrong);
  // The first mistake in the file.
  [[nodiscard]] std::optional<std::string> first() const;

 private:
  std::string file_;
  std::optional<std::pair<Place, std::string>> first_;
};

template <typename T>
struct Key {
  std::string_view name;
  Fault (*take)(const TomlNode&, T&);
};

// "a, b, c"
[[nodiscard]] std::string joined(const std::vector<std::string>& names);

// The sentence about a key that does not exist. `prefix`: "limits." for people.
[[nodiscard]] std::string unknown_key(const std::string& prefix, std::string_view key,
                                      const std::vector<std::string>& known);

// A table or tables within the table, read by other code.
struct Inner {
  std::string_view name;
  bool several = false;  // [[rule]]
};

// `prefix`: "limits." for people.
template <typename T, std::size_t N>
void read_table(const TomlNode& table, const std::array<Key<T>, N>& keys, T& out, const std::string& prefix,
                Faults& faults, std::initializer_list<Inner> inner = {}) {
  std::vector<std::string> known;
  known.reserve(N + inner.size());
  for (const auto& key : keys) known.emplace_back(key.name);
  for (const auto& one : inner)
    known.push_back(one.several ? fmt::format("[[{}]]", one.name) : fmt::format("[{}]", one.name));

  for (const TomlMember& member : table.members) {
    const auto has_this_name = [&](const auto& one) { return one.name == member.key; };
    if (std::any_of(inner.begin(), inner.end(), has_this_name)) continue;
    const auto found = std::find_if(keys.begin(), keys.end(), has_this_name);
    if (found == keys.end())
      faults.add(member.place, unknown_key(prefix, member.key, known));
    else if (const auto wrong = found->take(member.node, out))
      faults.add(member.node, prefix + member.key, *wrong);
  }
}
// The subtable of that name; null if absent.
[[nodiscard]] const TomlNode* subtable(const TomlNode& table, std::string_view name, const std::string& full_name,
                                       Faults& faults);

// The tables of `[[name]]` in `table`; empty if the value is of another kind, or has too many tables.
[[nodiscard]] std::vector<const TomlNode*> tables_of(const TomlNode& table, std::string_view name, std::size_t most,
                                                     Faults& faults);

// A non-empty string of at most `most` bytes.
inline constexpr std::size_t kAnyLength = SIZE_MAX;
[[nodiscard]] Fault take_text(const TomlNode& node, std::string& out, std::size_t most = kAnyLength);
// The name of a profile, namespace, listener or chip: names.h.
[[nodiscard]] Fault take_name(const TomlNode& node, std::string& out);
// "0660" or 0o660.
[[nodiscard]] Fault take_mode(const TomlNode& node, mode_t& out);
// "0660", "660": permission bits in octal. nullopt: another form.
[[nodiscard]] std::optional<mode_t> parse_mode(std::string_view text);
// "10s", "200ms", "5m", "1h", "endless".
[[nodiscard]] Fault take_duration(const TomlNode& node, std::uint64_t& out);
[[nodiscard]] Fault take_exhaustion(const TomlNode& node, guard::Exhaustion& out);

template <typename T>
[[nodiscard]] Fault take_number(const TomlNode& node, T& out, T least, T most = std::numeric_limits<T>::max()) {
  // TOML's integers are signed.
  const std::uint64_t highest = std::min<std::uint64_t>(most, std::numeric_limits<std::int64_t>::max());
  if (!node.is(TomlNode::Kind::kNumber) || node.number < 0 || std::cmp_less(node.number, least) ||
      std::cmp_greater(node.number, highest))
    return Wrong(fmt::format("must be a whole number from {} to {}", least, highest));
  out = static_cast<T>(node.number);
  return std::nullopt;
}

[[nodiscard]] inline Fault take_flag(const TomlNode& node, bool& out) {
  if (!node.is(TomlNode::Kind::kFlag)) return Wrong("must be true or false");
  out = node.flag;
  return std::nullopt;
}

// For optional values.
template <typename T, typename Take>
[[nodiscard]] Fault take_into(std::optional<T>& out, const Take& take) {
  T value{};
  Fault wrong = take(value);
  if (!wrong) out = std::move(value);
  return wrong;
}

}  // namespace tpmspace::config
