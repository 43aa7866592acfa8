#include "explain/command_meant.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/command_name.h"

namespace tpmspace::explain {
namespace {

// A command's name in the spelling with "-" between its words.
std::string plain(std::string_view name) {
  std::string out = wire::comparable_name(name);
  std::erase(out, '-');
  return out;
}

// The number of missing, extra or changed letters between two names.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t before = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t other = before + (a[i] == b[j] ? 0 : 1);
      before = std::exchange(row[j + 1], std::min({other, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

// The most likely command; empty: no likely command.
std::string_view meant_by(std::string_view word, const wire::CommandTable& table) {
  constexpr std::size_t kMostDifferences = 2, kLeastLetters = 4, kMostLetters = 64;
  const std::string wanted = plain(word.substr(0, kMostLetters));
  if (wanted.size() < kLeastLetters) return "";
  std::string_view out;
  std::size_t best = kMostDifferences + 1;
  for (const wire::CommandRow& row : table.rows()) {
    const std::string name = plain(row.name);
    const std::size_t differences = name.starts_with(wanted) ? (name == wanted ? 0 : 1) : distance(name, wanted);
    if (differences >= best) continue;
    best = differences;
    out = row.name;
  }
  return out;
}

}  // namespace

std::string no_such_command(const std::string& word, const wire::CommandTable& table) {
  if (word.find(' ') != std::string::npos)
    return fmt::format("\"{}\" is more than one word: leave the quotes out, so that the shell separates the words",
                       word);
  for (const wire::CommandRow& row : table.rows())
    if (wire::name_of(row.permission) == word)
      return fmt::format("\"{}\" is a class of commands: name a command of the class, such as {}", word, row.name);
  if (const auto meant = meant_by(word, table); !meant.empty())
    return fmt::format("\"{}\" is not a command: is {} meant?", word, meant);
  return fmt::format("\"{}\" is not a command: write a name like TPM2_NV_Write or a code like 0x137", word);
}

}  // namespace tpmspace::explain
