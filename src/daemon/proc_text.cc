#include "daemon/proc_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <system_error>

namespace tpmspace::daemon {
namespace {

// Fields of stat behind the program's name, which is the second: the state is the third.
constexpr std::size_t kStateField = 3;
constexpr std::size_t kStartField = 22;
// Fields of a line of mountinfo before the optional ones.
constexpr std::size_t kMountFields = 6;

template <typename Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  Number out{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// What stands before the next `separator`, which is taken too; all that is left if there is none.
std::string_view cut(std::string_view& rest, char separator) {
  const auto at = rest.find(separator);
  const auto out = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return out;
}

// A whole line; what has no newline behind it is none.
std::optional<std::string_view> next_line(std::string_view& rest) {
  const auto at = rest.find('\n');
  if (at == std::string_view::npos) return std::nullopt;
  return cut(rest, '\n');
}

bool is_path(std::string_view text) {
  return text.starts_with('/') && text.size() < PATH_MAX && text.find('\0') == std::string_view::npos;
}

bool is_cgroup_path(std::string_view text) {
  if (!is_path(text) || text.find('\n') != std::string_view::npos) return false;
  if (text == "/") return true;
  std::string_view rest = text.substr(1);
  if (rest.ends_with('/')) return false;
  while (!rest.empty()) {
    const auto name = cut(rest, '/');
    if (name.empty() || name == "." || name == "..") return false;
  }
  return true;
}

// "Uid:\t1000\t1000\t1000\t1000": real, effective, saved, file system.
template <typename Id>
std::optional<Id> effective_id(std::string_view ids) {
  cut(ids, '\t');
  return number<Id>(cut(ids, '\t'));
}

bool is_octal(char c) {
  return c >= '0' && c <= '7';
}

// The kernel writes a space, tab, newline and backslash in a path as "\040".
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digits = text.substr(i + 1, 3);
    if (text[i] != '\\' || digits.size() != 3 || !std::all_of(digits.begin(), digits.end(), is_octal) ||
        digits[0] > '3') {
      out.push_back(text[i]);
      continue;
    }
    out.push_back(static_cast<char>((digits[0] - '0') * 64 + (digits[1] - '0') * 8 + (digits[2] - '0')));
    i += 3;
  }
  return out;
}

// "41 31 0:38 /root /mount/point rw,relatime shared:1 - cgroup2 cgroup2 rw"
std::optional<Cgroup2Mount> parse_mount(std::string_view line) {
  std::array<std::string_view, kMountFields> fields;
  for (auto& field : fields) field = cut(line, ' ');
  while (!line.empty())
    if (cut(line, ' ') == "-") break;
  if (cut(line, ' ') != "cgroup2") return std::nullopt;
  Cgroup2Mount out{.point = unescaped(fields[4]), .root = unescaped(fields[3])};
  if (!is_path(out.point) || !is_path(out.root)) return std::nullopt;
  return out;
}

}  // namespace

std::optional<ProcessStart> parse_stat(std::string_view text) {
  const auto open = text.find(" (");
  const auto close = text.rfind(") ");  // whatever stands behind the name has no parentheses
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  const auto pid = number<pid_t>(text.substr(0, open));
  if (!pid || *pid <= 0) return std::nullopt;
  std::string_view rest = text.substr(close + 2);
  for (auto field = kStateField; field < kStartField; ++field) cut(rest, ' ');
  if (rest.find(' ') == std::string_view::npos) return std::nullopt;  // the text ends here: it is not whole
  const auto ticks = number<std::uint64_t>(cut(rest, ' '));
  if (!ticks) return std::nullopt;
  return ProcessStart{*pid, *ticks};
}

std::optional<EffectiveIds> parse_status(std::string_view text) {
  std::optional<uid_t> uid;
  while (const auto line = next_line(text)) {
    constexpr std::string_view kUid = "Uid:\t", kGid = "Gid:\t";
    if (line->starts_with(kUid)) uid = effective_id<uid_t>(line->substr(kUid.size()));
    if (!line->starts_with(kGid)) continue;
    const auto gid = effective_id<gid_t>(line->substr(kGid.size()));
    if (!uid || !gid) return std::nullopt;
    return EffectiveIds{*uid, *gid};
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_capabilities(std::string_view text) {
  constexpr std::string_view kEffective = "CapEff:\t";
  while (const auto line = next_line(text))
    if (line->starts_with(kEffective)) return number<std::uint64_t>(line->substr(kEffective.size()), 16);
  return std::nullopt;
}

std::optional<std::string> parse_cgroup(std::string_view text) {
  constexpr std::string_view kVersion2 = "0::";
  while (const auto line = next_line(text)) {
    if (!line->starts_with(kVersion2)) continue;
    const auto path = line->substr(kVersion2.size());
    if (!is_cgroup_path(path)) return std::nullopt;
    return std::string(path);
  }
  return std::nullopt;
}

std::optional<Cgroup2Mount> parse_mountinfo(std::string_view text) {
  std::optional<Cgroup2Mount> part;
  while (const auto line = next_line(text)) {
    auto mount = parse_mount(*line);
    if (!mount) continue;
    if (mount->root == "/") return mount;
    if (!part) part = std::move(mount);
  }
  return part;
}

std::optional<std::string> parse_executable(std::string_view text) {
  if (!is_path(text) || text.ends_with(" (deleted)")) return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_label(std::string_view text) {
  if (text.ends_with('\0')) text.remove_suffix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (text.empty() || text.size() > kMaxLabel || std::any_of(text.begin(), text.end(), is_control)) return std::nullopt;
  return std::string(text);
}

}  // namespace tpmspace::daemon
