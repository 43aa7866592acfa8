// Whether a command may go on to the TPM: a profile's answer.
//
// Idea: the command's row says what it does with each handle and what its parameters name (wire/command_table.h); the
// profile says to what that may be done. Whatever the row does not explain is refused unless the profile allows it
// everything. What lies in a client's own space (transient objects, sequences, sessions) is the manager's to judge:
// FlushContext and ContextLoad name nothing else, so their parameters are not read.
//
// Judged in the parameters are: PCR selections (PCR_Read, Quote, PolicyPCR, Create, CreatePrimary: wherever values or
// their digest come out); the hierarchy of LoadExternal, Hash, SequenceComplete, HierarchyControl; the handle of
// EvictControl; the index of NV_DefineSpace; a signing scheme that spends a commitment, for which Commit is needed.
// Whether an NV index is one of `nv.pin`'s kind no command says: that is judged by the manager (space/protection.h).
// PCRs of PCR_Allocate and PCR_SetAuthPolicy are not: who may do that may do it to all. What a profile allows whole is
// not read; where something must be read and is encrypted or cannot be parsed, the answer is no.
//
// Threads: pure. Costs: well below 1 us; nothing is allocated (bench, unit tests).
// Codes: without a layer; what the TPM would say of an entity that is not there or not right (docs/profiles.md).
// Source: tpm-behaviour 32; TPM 2.0 library, Part 3 (handle areas), Part 2, 6.6.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "guard/profile.h"
#include "wire/command.h"
#include "wire/rc.h"

namespace tpmspace::guard {

enum class Reason : std::uint8_t {
  kAllowed,
  kNoSuchCommand,  // COMMAND_CODE
  kDisabled,       // DISABLED
  kLocality,       // LOCALITY
  kHierarchy,      // HIERARCHY, handle or parameter number n
  kPersistent,     // HANDLE, n
  kNv,             // NV_AUTHORIZATION
  kEveryNv,        // NV_AUTHORIZATION: the command is about all of them
  kNvAuthority,    // NV_AUTHORIZATION: not by owner or platform
  kPcr,            // PCR
  kCommitment,     // SCHEME, n: it would spend a commitment
  kUnknownUse,     // HANDLE, n: what the command does with it only the chip knows
  kHidden,         // ATTRIBUTES, session n: the parameter that must be judged is encrypted
  kUnreadable,     // the TPM's code for it, parameter n
};
struct Verdict {
  Reason reason = Reason::kAllowed;
  wire::Rc rc = wire::rc::kSuccess;
  std::string_view key = {};  // what the configuration calls what is missing: "nv.write", or a class of commands

  [[nodiscard]] bool allowed() const { return reason == Reason::kAllowed; }
  bool operator==(const Verdict&) const = default;
};

// "the profile does not list this NV index under nv.write": for an audit record and `policy explain`.
[[nodiscard]] std::string sentence(const Verdict& verdict);

// NV indices whose own authorization it tries, or to which it binds a session: if they are PIN Fail indices, and the
// policy of a policy session asks for it.
[[nodiscard]] Numbers tried_indices(const wire::Command& command);

[[nodiscard]] Verdict judge(const Profile& profile, const wire::Command& command, std::uint8_t locality);

}  // namespace tpmspace::guard
