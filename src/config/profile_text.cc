#include "config/profile_text.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "config/profile_tables.h"
#include "wire/command_table.h"

namespace tpmspace::config {
namespace {

using Range = Numbers::Range;

std::string in_quotes(std::string_view text) {
  return fmt::format("\"{}\"", text);
}

// By name, or by code if the command has no name.
std::vector<std::string> command_entries(const Numbers& commands) {
  if (commands == Numbers::all()) return {in_quotes("all")};
  std::vector<std::string> out;
  Numbers unnamed = commands;
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    if (!commands.contains(row.code)) continue;
    out.push_back(in_quotes(row.name));
    unnamed = unnamed - Numbers::one(row.code);
  }
  for (const Range& range : unnamed.ranges())
    for (std::uint64_t code = range.first; code <= range.last; ++code)
      out.push_back(in_quotes(fmt::format("{:#010x}", code)));
  return out;
}

std::string entry_of(Range range, const NumberKind& kind) {
  const auto text = [&](std::uint32_t number) {
    return kind.hexadecimal ? fmt::format("{:#010x}", number) : fmt::format("{}", number);
  };
  if (range.first == range.last) return text(range.first);
  return in_quotes(text(range.first) + "-" + text(range.last));
}

// Each range lies inside one possible range, as the reader requires.
std::vector<std::string> entries_of(Numbers numbers, const NumberKind& kind) {
  const Numbers possible(std::vector<Range>(kind.possible.begin(), kind.possible.end()));
  if (!(numbers - possible).empty()) return {in_quotes("all")};
  std::vector<std::string> out;
  if (&kind == &kHierarchies)
    for (const std::string_view name : {"owner", "endorsement", "platform", "lockout", "null"}) {
      const auto one = Numbers::one(hierarchy_named(name).value());
      if ((numbers & one).empty()) continue;
      out.push_back(in_quotes(name));
      numbers = numbers - one;
    }
  for (const Range& stretch : kind.possible) {
    const Numbers here = numbers & Numbers{stretch};
    for (const Range& range : here.ranges()) out.push_back(entry_of(range, kind));
  }
  return out;
}

}  // namespace

std::string to_toml(const guard::Profile& profile, const std::string& name) {
  // A dot would split the table's name into two.
  std::string out = fmt::format("[profile.{}]\n", name.find('.') == std::string::npos ? name : in_quotes(name));
  for (const auto& one : guard::kSets) {
    const Numbers& numbers = profile.*one.set;
    if (numbers.empty()) continue;
    if (const NumberKind* kind = kind_of(one))
      out += fmt::format("{} = [{}]\n", one.name, joined(entries_of(numbers, *kind)));
    else
      out += fmt::format("allow = [\n  {},\n]\n", fmt::join(command_entries(numbers), ",\n  "));
  }
  return out;
}

}  // namespace tpmspace::config
