#include "guard/profile.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "wire/command_name.h"

namespace tpmspace::guard {
namespace {

SessionTerms narrow(const SessionTerms& a, const SessionTerms& b) {
  return {.claim = std::min(a.claim, b.claim),
          .lease = std::min(a.lease, b.lease),
          .tenure = std::min(a.tenure, b.tenure),
          .deadline = std::min(a.deadline, b.deadline),
          .exhaustion = std::min(a.exhaustion, b.exhaustion)};
}

Limits narrow(const Limits& a, const Limits& b) {
  return {.connections = std::min(a.connections, b.connections),
          .objects = std::min(a.objects, b.objects),
          .sessions = std::min(a.sessions, b.sessions),
          .bytes = std::min(a.bytes, b.bytes),
          .share = std::min(a.share, b.share),
          .priority = std::min(a.priority, b.priority),
          .endless_sessions = std::min(a.endless_sessions, b.endless_sessions)};
}

// The codes of the builtin table's rows that `wanted` picks.
template <typename Predicate>
Numbers codes(const Predicate& wanted) {
  std::vector<Numbers::Range> out;
  for (const auto& row : wire::CommandTable::builtin().rows())
    if (wanted(row)) out.push_back({row.code, row.code});
  return Numbers(std::move(out));
}

std::optional<std::uint32_t> hexadecimal(std::string_view word) {
  if (!word.starts_with("0x")) return std::nullopt;
  word.remove_prefix(2);
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out, 16);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return out;
}

}  // namespace

// "a & b", each name once, however often the profile was narrowed.
std::string joined(const std::string& a, std::string_view b) {
  constexpr std::string_view kAnd = " & ";
  std::string out = a;
  while (!b.empty()) {
    const std::string_view one = b.substr(0, b.find(kAnd));
    b.remove_prefix(std::min(b.size(), one.size() + kAnd.size()));
    std::string_view names = out;
    bool known = false;
    while (!names.empty() && !known) {
      const std::string_view name = names.substr(0, names.find(kAnd));
      names.remove_prefix(std::min(names.size(), name.size() + kAnd.size()));
      known = name == one;
    }
    if (!known) out.append(kAnd).append(one);
  }
  return out;
}

Profile narrow(const Profile& a, const Profile& b) {
  Profile out;
  out.name = joined(a.name, b.name);
  for (const auto& one : kSets) out.*one.set = a.*one.set & b.*one.set;
  out.disabled = a.disabled | b.disabled;
  out.terms = narrow(a.terms, b.terms);
  out.limits = narrow(a.limits, b.limits);
  out.administer = a.administer && b.administer;
  return out;
}

std::optional<Numbers> commands_named(std::string_view word) {
  if (word == "all") return Numbers::all();
  if (word == wire::name_of(wire::PermissionClass::kVendor))
    return ~codes([](const wire::CommandRow&) { return true; });
  if (const auto code = hexadecimal(word)) return Numbers::one(*code);
  Numbers out = codes([&](const wire::CommandRow& row) { return wire::name_of(row.permission) == word; });
  if (!out.empty()) return out;
  const wire::CommandRow* row = wire::command_named(word, wire::CommandTable::builtin());
  if (row == nullptr) return std::nullopt;
  return Numbers::one(row->code);
}

tl::expected<Numbers, std::string_view> commands_named(std::span<const std::string_view> allow,
                                                       std::span<const std::string_view> deny) {
  Numbers allowed, denied;
  for (const auto& [words, set] : {std::pair(allow, &allowed), std::pair(deny, &denied)})
    for (const auto word : words) {
      const auto named = commands_named(word);
      if (!named) return tl::unexpected(word);
      *set = *set | *named;
    }
  return allowed - denied;
}

}  // namespace tpmspace::guard
