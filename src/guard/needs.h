// The sets of a profile that judge a command: the verdict's table in reverse.
//
// Idea: to use an NV index, a persistent object or a PCR, a client needs the command and the handle in a set. A profile
// with only half of a permission is reported by `policy check`. Both functions follow from the command's row. Threads:
// pure. Limits: a use that the row does not explain (HandleUse::kUnknown) is judged by every set.
#pragma once

#include <vector>

#include "guard/profile.h"
#include "wire/command_table.h"

namespace tpmspace::guard {

// Each set that may decide about the command, except commands and localities.
[[nodiscard]] std::vector<SetMember> sets_used_by(const wire::CommandRow& row);
// The sets that, when empty, refuse the command whatever its handles are. A set is not listed if the command can do
// without (EventSequenceComplete can have TPM_RH_NULL in place of a PCR, PCR_Extend cannot) or takes transient objects
// as well.
[[nodiscard]] std::vector<SetMember> sets_needed_by(const wire::CommandRow& row);
[[nodiscard]] bool uses(const wire::CommandRow& row, SetMember set);
[[nodiscard]] bool needs(const wire::CommandRow& row, SetMember set);
// The set that more than half of the commands of the class need: nv.write of "nv-write". Null: no such set.
[[nodiscard]] const SetOfProfile* main_set_of(wire::PermissionClass permission);

}  // namespace tpmspace::guard
