#include "wire/command_name.h"

#include <algorithm>

namespace tpmspace::wire {

std::string comparable_name(std::string_view name) {
  constexpr std::string_view kPrefix = "tpm2";
  std::string out;
  for (const char c : name)
    if (c != '_') out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out.starts_with(kPrefix) ? out.substr(kPrefix.size()) : out;
}

const CommandRow* command_named(std::string_view name, const CommandTable& table) {
  const std::string wanted = comparable_name(name);
  if (wanted.empty()) return nullptr;
  const auto rows = table.rows();
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [&](const CommandRow& row) { return comparable_name(row.name) == wanted; });
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace tpmspace::wire
