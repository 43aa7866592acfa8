#include "config/condition_values.h"

#include "base/limits.h"

namespace tpmspace::config {

using guard::Pattern;

Fault take_some(const TomlNode& node, const NumberKind& kind, std::optional<Numbers>& out,
                const Accounts::Look& named) {
  return take_into(out, [&](Numbers& numbers) -> Fault {
    if (auto wrong = take_numbers(node, kind, numbers, named)) return wrong;
    return numbers.empty() ? Fault("is empty, and would never match") : std::nullopt;
  });
}

Fault take_path_pattern(const TomlNode& node, std::optional<Pattern>& out) {
  std::string text;
  if (auto wrong = take_text(node, text, limits::kMaxPattern)) return wrong;
  if (text[0] != '/' && text[0] != '*') return "would match no path: begin it with \"/\" or \"**\"";
  out = Pattern(std::move(text));
  return std::nullopt;
}

Fault take_name_pattern(const TomlNode& node, std::optional<Pattern>& out) {
  std::string text;
  if (auto wrong = take_text(node, text, limits::kMaxPattern)) return wrong;
  if (text.find('/') != std::string::npos) return "must be a name without \"/\"; for a path use \"cgroup\"";
  out = Pattern(std::move(text));
  return std::nullopt;
}

Fault take_inode(const TomlNode& node, std::optional<std::uint64_t>& out) {
  return take_into(out, [&](std::uint64_t& number) { return take_number(node, number, std::uint64_t{1}); });
}

Fault take_optional_text(const TomlNode& node, std::optional<std::string>& out, std::size_t most) {
  return take_into(out, [&](std::string& text) { return take_text(node, text, most); });
}

}  // namespace tpmspace::config
