// Which sets of a profile a command is judged by: the same table as the verdict's, the other way round.
//
// Idea: to use an NV index, a persistent object or a PCR a client needs the command and the handle in a set. A profile
// that has one of the two is half a permission, and `policy check` says so. Both functions follow from the command's
// row. Threads: pure. Limits: what a row does not explain (HandleUse::kUnknown) is judged by every set.
#pragma once

#include <vector>

#include "guard/profile.h"
#include "wire/command_table.h"

namespace tpmspace::guard {

// Each set that may decide about it, but for commands and localities.
[[nodiscard]] std::vector<SetMember> sets_used_by(const wire::CommandRow& row);
// Those of which one that is empty refuses the command whatever its handles are. A command that can do without what is
// in the set (PCR_Extend with a PCR cannot, EventSequenceComplete, which can have TPM_RH_NULL there, can) is not among
// them, nor is one that takes transient objects as well.
[[nodiscard]] std::vector<SetMember> sets_needed_by(const wire::CommandRow& row);
[[nodiscard]] bool uses(const wire::CommandRow& row, SetMember set);
[[nodiscard]] bool needs(const wire::CommandRow& row, SetMember set);
// The set that more than half of the commands of the class need: nv.write of "nv-write". Null: there is none.
[[nodiscard]] const SetOfProfile* main_set_of(wire::PermissionClass permission);

}  // namespace tpmspace::guard
