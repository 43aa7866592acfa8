#include "config/number_list.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <vector>

#include "base/limits.h"
#include "wire/handle.h"

namespace tpmspace::config {
namespace {

using Range = Numbers::Range;

// TPMA_LOCALITY (Part 2, 8.5); TPM_HT_... (Part 2, 7.2); a selection has at most eight bytes (guard/verdict.cc).
constexpr Range kLocalityRanges[] = {{0, 4}, {32, 255}};
constexpr Range kPermanentRanges[] = {{0x40000000, 0x40FFFFFF}};
constexpr Range kPersistentRanges[] = {{0x81000000, 0x81FFFFFF}};
constexpr Range kNvRanges[] = {{0x01000000, 0x01FFFFFF}, {0x11000000, 0x11FFFFFF}, {0x12000000, 0x12FFFFFF}};
constexpr Range kPcrRanges[] = {{0, 63}};
constexpr Range kIdRanges[] = {{0, UINT32_MAX - 1}};  // the kernel reserves the last number as "no user"

std::string shown(std::uint32_t number, const NumberKind& kind) {
  return kind.hexadecimal ? fmt::format("{:#010x}", number) : fmt::format("{}", number);
}

std::string shown(Range range, const NumberKind& kind) {
  return shown(range.first, kind) + (kind.hexadecimal ? " to " : "-") + shown(range.last, kind);
}

// Roughly as written in the file.
std::string shown(const TomlNode& entry, const NumberKind& kind) {
  if (entry.is(TomlNode::Kind::kText)) return fmt::format("\"{}\"", entry.text);
  return kind.hexadecimal && entry.number >= 0 ? fmt::format("{:#010x}", entry.number)
                                               : fmt::format("{}", entry.number);
}

Fault out_of_range(const TomlNode& entry, const NumberKind& kind) {
  return Wrong(
      fmt::format("has {}, which is not possible: {} are {}", shown(entry, kind), kind.plural, possible_of(kind)),
      entry.place);
}

Fault take_range(const TomlNode& entry, const NumberKind& kind, Range range, std::vector<Range>& out) {
  if (range.first > range.last)
    return Wrong(fmt::format("has {}, which is not a range: the smaller number comes first", shown(entry, kind)),
                 entry.place);
  if (!is_possible(kind, range)) return out_of_range(entry, kind);
  out.push_back(range);
  return std::nullopt;
}

Fault take_entry(const TomlNode& entry, const NumberKind& kind, const Accounts::Look& named, std::vector<Range>& out) {
  if (entry.is(TomlNode::Kind::kNumber)) {
    if (entry.number < 0 || entry.number > UINT32_MAX) return out_of_range(entry, kind);
    const auto number = static_cast<std::uint32_t>(entry.number);
    return take_range(entry, kind, {number, number}, out);
  }
  if (!entry.is(TomlNode::Kind::kText))
    return Wrong(fmt::format("must be a list of numbers and texts: {}", kind.plural), entry.place);
  if (kind.all && entry.text == "all") {
    out.push_back({0, UINT32_MAX});
    return std::nullopt;
  }
  if (const auto range = range_in(entry.text)) return take_range(entry, kind, *range, out);
  const auto number = named && entry.text.find('\0') == std::string::npos ? named(entry.text) : std::nullopt;
  if (number) return take_range(entry, kind, {*number, *number}, out);
  return Wrong(fmt::format("has {}, which is no {}: write {}", shown(entry, kind), kind.singular, kind.how),
               entry.place);
}

// A single entry counts as a list.
std::span<const TomlNode> entries_of(const TomlNode& node) {
  return node.is(TomlNode::Kind::kList) ? std::span<const TomlNode>(node.elements) : std::span(&node, 1);
}

Fault too_many(std::span<const TomlNode> entries, std::string_view instead) {
  if (entries.size() <= limits::kListEntries) return std::nullopt;
  return Wrong(
      fmt::format("has {} entries, at most {} are possible: {}", entries.size(), limits::kListEntries, instead));
}

// getpwnam_r and getgrnam_r, which differ only in their types.
template <typename Entry, typename Id>
std::optional<std::uint32_t> look(const std::string& name,
                                  int (*find)(const char*, Entry*, char*, std::size_t, Entry**), Id Entry::*id) {
  constexpr std::size_t kFirst = 4096, kMost = 1 << 20;  // a group may have many members
  for (std::size_t size = kFirst; size <= kMost; size *= 4) {
    std::vector<char> texts(size);
    Entry entry{};
    Entry* found = nullptr;
    const int error = find(name.c_str(), &entry, texts.data(), texts.size(), &found);
    if (error == ERANGE) continue;
    return found != nullptr ? std::optional<std::uint32_t>(found->*id) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

const NumberKind kLocalities{"locality",      "localities", "a number, a range like \"0-4\", or \"all\"",
                             kLocalityRanges, false,        true};
const NumberKind kHierarchies{"hierarchy",
                              "hierarchies and other permanent handles",
                              "owner, endorsement, platform, lockout, null, all, or a handle like 0x40000110",
                              kPermanentRanges,
                              true,
                              true};
const NumberKind kPersistentHandles{"persistent handle",
                                    "persistent handles",
                                    "0x81000001, a range like \"0x81000000-0x8100ffff\", or \"all\"",
                                    kPersistentRanges,
                                    true,
                                    true};
const NumberKind kNvIndices{"NV index", "NV indices", "0x01500001, a range like \"0x01500000-0x0150ffff\", or \"all\"",
                            kNvRanges,  true,         true};
const NumberKind kPcrs{"PCR", "PCRs", "a number, a range like \"0-7\", or \"all\"", kPcrRanges, false, true};
const NumberKind kUsers{"user",    "users", "a name that this machine knows, a number, or a range like \"1000-1999\"",
                        kIdRanges, false,   false};
const NumberKind kGroups{"group", "groups", kUsers.how, kIdRanges, false, false};

std::string possible_of(const NumberKind& kind) {
  std::vector<std::string> out;
  for (const Range range : kind.possible) out.push_back(shown(range, kind));
  return joined(out);
}

bool is_possible(const NumberKind& kind, Range range) {
  return std::any_of(kind.possible.begin(), kind.possible.end(),
                     [&](Range one) { return one.first <= range.first && range.last <= one.last; });
}

Accounts system_accounts() {
  return {[](const std::string& name) { return look<passwd, uid_t>(name, ::getpwnam_r, &passwd::pw_uid); },
          [](const std::string& name) { return look<group, gid_t>(name, ::getgrnam_r, &group::gr_gid); }};
}

Fault take_numbers(const TomlNode& node, const NumberKind& kind, Numbers& out, const Accounts::Look& named) {
  const auto entries = entries_of(node);
  if (auto wrong = too_many(entries, "write ranges")) return wrong;
  std::vector<Range> ranges;
  for (const TomlNode& entry : entries)
    if (auto wrong = take_entry(entry, kind, named, ranges)) return wrong;
  out = Numbers(std::move(ranges));
  return std::nullopt;
}

std::optional<std::uint32_t> hierarchy_named(std::string_view name) {
  using H = wire::Hierarchy;
  constexpr std::array<std::pair<std::string_view, std::uint32_t>, 5> kNames{
      {{"owner", static_cast<std::uint32_t>(H::kOwner)},
       {"endorsement", static_cast<std::uint32_t>(H::kEndorsement)},
       {"platform", static_cast<std::uint32_t>(H::kPlatform)},
       {"lockout", wire::kLockoutHandle},
       {"null", static_cast<std::uint32_t>(H::kNull)}}};
  for (const auto& [known, handle] : kNames)
    if (known == name) return handle;
  return std::nullopt;
}

Fault take_commands(const TomlNode& node, Numbers& out) {
  const auto entries = entries_of(node);
  if (auto wrong = too_many(entries, "write classes")) return wrong;
  Numbers commands;
  for (const TomlNode& entry : entries) {
    if (!entry.is(TomlNode::Kind::kText))
      return Wrong("must be a list of texts: classes, names and codes of commands", entry.place);
    const auto named = guard::commands_named(entry.text);
    if (!named)
      return Wrong(fmt::format("has \"{}\", which is not a command: write a class like \"use-keys\", a name like "
                               "\"TPM2_NV_Read\", a code like \"0x2000010a\", or \"all\"",
                               entry.text),
                   entry.place);
    commands = commands | *named;
  }
  out = std::move(commands);
  return std::nullopt;
}

std::optional<std::uint32_t> number_in(std::string_view text) {
  const int base = text.starts_with("0x") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

std::optional<Range> range_in(std::string_view text) {
  const auto dash = text.find('-');
  const auto first = number_in(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : number_in(text.substr(dash + 1));
  if (!first || !last) return std::nullopt;
  return Range{*first, *last};
}

}  // namespace tpmspace::config
