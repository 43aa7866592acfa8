// Lists of the configuration that mean sets: handles, uids, PCRs, localities, commands.
//
// Idea: an entry is a number, a range "0x01500000-0x0150ffff" (both ends are in it), a name if the kind has names, or
// "all" if the kind has that; one entry alone needs no list. What kind of numbers it is says which are possible, so
// that a persistent handle among NV indices is a mistake and no rule that never matches.
// Threads: functions of their arguments, but for system_accounts(), which asks the system's databases (and may wait for
// them). Limits: limits::kListEntries entries.
// Errors: what is wrong with which entry, and its place.
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

// The numbers of users and groups by their names; nullopt: there is none.
struct Accounts {
  using Look = std::function<std::optional<std::uint32_t>(const std::string& name)>;
  Look user, group;
};
[[nodiscard]] Accounts system_accounts();

// What kind of numbers a list has. Views into constants.
struct NumberKind {
  std::string_view singular, plural;         // "persistent handle", "persistent handles"
  std::string_view how;                      // to write one
  std::span<const Numbers::Range> possible;  // one of them has the whole of an entry
  bool hexadecimal = false;                  // as people see them
  bool all = false;                          // "all" is possible, and means every number there is
};
extern const NumberKind kLocalities, kHierarchies, kPersistentHandles, kNvIndices, kPcrs, kUsers, kGroups;

// `named`: null, or what a text that is no number stands for.
[[nodiscard]] Fault take_numbers(const TomlNode& node, const NumberKind& kind, Numbers& out,
                                 const Accounts::Look& named = nullptr);
// "0x81000000 to 0x81ffffff"
[[nodiscard]] std::string possible_of(const NumberKind& kind);
// One stretch of what is possible has all of it.
[[nodiscard]] bool is_possible(const NumberKind& kind, Numbers::Range range);
// "owner", "endorsement", "platform", "lockout", "null".
[[nodiscard]] std::optional<std::uint32_t> hierarchy_named(std::string_view name);
// Classes, names, codes, "all": guard::commands_named.
[[nodiscard]] Fault take_commands(const TomlNode& node, Numbers& out);

// "42", "0x2a", without a sign; nullopt: it is no number or above UINT32_MAX.
[[nodiscard]] std::optional<std::uint32_t> number_in(std::string_view text);
// "3", "0x01500000-0x0150ffff".
[[nodiscard]] std::optional<Numbers::Range> range_in(std::string_view text);

}  // namespace tpmspace::config
