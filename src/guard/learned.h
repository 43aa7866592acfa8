// The needs of a program, from the commands it sends: the narrowest profile with which `judge` allows the commands.
//
// Idea: `learn` asks `judge` itself, so the learned profile never disagrees with enforcement. `learn` settles the sets
// of a profile in turn, while later sets count as full. If the command is allowed with the set unchanged, nothing is
// added. Else all numbers that the command could mean in the set are added, and each number that is not needed is
// removed again. If the added numbers are not enough, the command hides a number (a parameter is encrypted, a handle is
// of no known kind) or means all (NV_GlobalWriteLock): then every number of the set's kind is added, and at last
// everything. `nv_pin` gets every tried index: a command does not tell whether an index is a PIN Fail index. Sets only
// grow; limits and terms do not change. Commands disabled by a rule are not considered.
//
// Threads: pure. Costs: one `judge` for a command that is allowed already; otherwise well below a millisecond. Limits:
// a set may have kMostEntries entries (docs/policy-profiles.md: as many as a list of the configuration), all sets
// together kMostEntriesInAll. The caller checks (`has_room`).
#pragma once

#include <cstddef>
#include <cstdint>

#include "guard/profile.h"
#include "wire/command.h"

namespace tpmspace::guard {

// An entry is a command or a range.
inline constexpr std::size_t kMostEntries = 256;
inline constexpr std::size_t kMostEntriesInAll = 512;

// The smallest growth of `so_far` with which the command is allowed. Precondition: `so_far` disables nothing.
[[nodiscard]] Profile learn(Profile so_far, const wire::Command& command, std::uint8_t locality);

[[nodiscard]] bool has_room(const Profile& learned);

}  // namespace tpmspace::guard
