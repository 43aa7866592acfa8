#include "peer/proc_text.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <system_error>

#include "guard/principal.h"

namespace tpmspace::peer {
namespace {

// Fields of stat after the program's name, which is the second field: the state is the third.
constexpr std::size_t kStateField = 3;
constexpr std::size_t kFlagsField = 9;
constexpr std::size_t kStartField = 22;
constexpr std::uint64_t kExiting = 0x4;  // PF_EXITING (include/linux/sched.h)

template <typename Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  Number out{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// The text before the next `separator`, which is consumed; the whole rest if there is no separator.
std::string_view cut(std::string_view& rest, char separator) {
  const auto at = rest.find(separator);
  const auto out = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return out;
}

// A whole line; a line needs its newline.
std::optional<std::string_view> next_line(std::string_view& rest) {
  const auto at = rest.find('\n');
  if (at == std::string_view::npos) return std::nullopt;
  return cut(rest, '\n');
}

bool is_path(std::string_view text) {
  return text.starts_with('/') && text.size() < PATH_MAX && text.find('\0') == std::string_view::npos;
}

// ".." is allowed only at the beginning.
bool is_cgroup_path(std::string_view text) {
  if (!is_path(text) || text.find('\n') != std::string_view::npos) return false;
  if (text == "/") return true;
  std::string_view rest = text.substr(1);
  if (rest.ends_with('/')) return false;
  bool is_below = false;
  while (!rest.empty()) {
    const auto name = cut(rest, '/');
    if (name.empty() || name == "." || (is_below && name == "..")) return false;
    is_below = name != "..";
  }
  return true;
}

// "4:memory:/system.slice/nginx.service"
std::optional<CgroupPath> parse_cgroup(std::string_view line) {
  if (!number<unsigned>(cut(line, ':')) || line.find(':') == std::string_view::npos) return std::nullopt;
  CgroupPath out;
  out.hierarchy = cut(line, ':');
  out.path = line;
  if (!is_cgroup_path(out.path)) return std::nullopt;
  return out;
}

// "Uid:\t1000\t1000\t1000\t1000": real, effective, saved, file system.
template <typename Id>
std::optional<Id> effective_id(std::string_view ids) {
  cut(ids, '\t');
  return number<Id>(cut(ids, '\t'));
}

}  // namespace

std::optional<ProcessStat> parse_stat(std::string_view text) {
  const auto open = text.find(" (");
  const auto close = text.rfind(") ");  // the text after the name has no parentheses
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  const auto pid = number<pid_t>(text.substr(0, open));
  if (!pid || *pid <= 0) return std::nullopt;
  std::string_view rest = text.substr(close + 2);
  std::optional<std::uint64_t> flags;
  for (auto field = kStateField; field < kStartField; ++field) {
    const auto value = cut(rest, ' ');
    if (field == kFlagsField) flags = number<std::uint64_t>(value);
  }
  if (rest.find(' ') == std::string_view::npos) return std::nullopt;  // the text is cut off here
  const auto ticks = number<std::uint64_t>(cut(rest, ' '));
  if (!ticks || !flags) return std::nullopt;
  return ProcessStat{.pid = *pid, .ticks = *ticks, .is_exiting = (*flags & kExiting) != 0};
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

std::optional<std::vector<CgroupPath>> parse_cgroups(std::string_view text) {
  std::vector<CgroupPath> out;
  while (const auto line = next_line(text)) {
    auto one = parse_cgroup(*line);
    const auto is_same = [&](const CgroupPath& other) { return other.hierarchy == one->hierarchy; };
    if (!one || std::any_of(out.begin(), out.end(), is_same)) return std::nullopt;
    out.push_back(*std::move(one));
  }
  if (!text.empty()) return std::nullopt;
  return out;
}

bool is_whole_uid_map(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty() && words.size() < 4)
    if (const auto word = cut(text, text.find('\n') < text.find(' ') ? '\n' : ' '); !word.empty())
      words.push_back(word);
  return words == std::vector<std::string_view>{"0", "0", "4294967295"};
}

std::optional<std::string> parse_executable(std::string_view text) {
  if (!is_path(text) || text.ends_with(" (deleted)")) return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_label(std::string_view text) {
  if (text.ends_with('\0')) text.remove_suffix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (text.empty() || text.size() > guard::kMaxLabel || std::any_of(text.begin(), text.end(), is_control))
    return std::nullopt;
  return std::string(text);
}

}  // namespace tpmspace::peer
