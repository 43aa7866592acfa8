// Lists of the configuration that mean sets: handles, uids, PCRs, localities, commands.
//
// Idea: an entry is a number, a range "0x01500000-0x0150ffff" (both ends included), a name if the kind has names, or
// "all" if the kind allows "all"; a single entry needs no list. The kind of number limits the possible numbers, so that
// a persistent handle among NV indices is a mistake and not a rule that never matches.
// Threads: functions of their arguments, except system_accounts(), which asks the system's databases (and may wait).
// Limits: limits::kListEntries entries.
// Errors: the failure with its entry and place.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/table_reader.h"
#include "wire/numbers.h"

namespace tpmspace::config {

using wire::Numbers;

// The numbers of users and groups by name; nullopt: no such user or group.
struct Accounts {
  using Look = std::function<std::optional<std::uint32_t>(const std::string& name)>;
  Look user, group;
};
[[nodiscard]] Accounts system_accounts();

// The kind of numbers in a list. Views into constants.
struct NumberKind {
  std::string_view singular, plural;         // "persistent handle", "persistent handles"
  std::string_view how;                      // how to write a number
  std::span<const Numbers::Range> possible;  // each entry must lie within one of the ranges
  bool hexadecimal = false;                  // as shown to people
  bool all = false;                          // "all" is possible, and means every existing number
};
extern const NumberKind kLocalities, kHierarchies, kPersistentHandles, kNvIndices, kPcrs, kUsers, kGroups;

// `named`: null, or the number for a text that is no number.
[[nodiscard]] Fault take_numbers(const TomlNode& node, const NumberKind& kind, Numbers& out,
                                 const Accounts::Look& named = nullptr);
// "0x81000000 to 0x81ffffff"
[[nodiscard]] std::string possible_of(const NumberKind& kind);
// One of the possible ranges contains the whole range.
[[nodiscard]] bool is_possible(const NumberKind& kind, Numbers::Range range);
// "owner", "endorsement", "platform", "lockout", "null".
[[nodiscard]] std::optional<std::uint32_t> hierarchy_named(std::string_view name);
// Classes, names, codes, "all": guard::commands_named.
[[nodiscard]] Fault take_commands(const TomlNode& node, Numbers& out);

// "42", "0x2a", without a sign; nullopt: no number, or above UINT32_MAX.
[[nodiscard]] std::optional<std::uint32_t> number_in(std::string_view text);
// "3", "0x01500000-0x0150ffff".
[[nodiscard]] std::optional<Numbers::Range> range_in(std::string_view text);

}  // namespace tpmspace::config
