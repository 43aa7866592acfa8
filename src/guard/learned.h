// What a program needs, from the commands that it sends: the narrowest profile with which `judge` allows them.
//
// Idea: `judge` itself is asked, so that what is learned never disagrees with what is enforced. Each set of a profile
// is settled in turn, while those behind it count as everything: if the command is allowed with the set as it is,
// nothing is added; else all numbers that the command could mean there are, and each is taken away again that is not
// missed. If they are not enough, something in the command cannot be told (a parameter is encrypted, a handle is of no
// known kind) or all is meant (NV_GlobalWriteLock): then every number of the set's kind is added, and at last
// everything. `nv_pin` gets whatever index is tried: whether it is a PIN Fail index no command says. Only sets grow;
// limits and terms stay as they are. What a rule disables is no part of it.
//
// Threads: pure. Costs: nothing but one `judge` for a command that is allowed already; otherwise well below a
// millisecond. Limits: a set may have kMostEntries entries (docs/policy.md: as many as a list of the configuration),
// all sets together kMostEntriesInAll. The caller looks (`has_room`).
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
