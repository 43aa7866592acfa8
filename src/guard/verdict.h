// Whether a command may go on to the TPM, by a profile.
//
// Idea: the command's row says how the command uses each handle and which things its parameters name
// (wire/command_table.h); the profile lists the handles allowed for each use. A use that the row does not explain is
// refused unless the profile allows everything on the handle. The manager judges the contents of a client's own space
// (transient objects, sequences, sessions): FlushContext and ContextLoad name nothing else, so their parameters are not
// read.
//
// Judged parameters: PCR selections (PCR_Read, Quote, PolicyPCR, Create, CreatePrimary: each command that outputs PCR
// values or their digest); the hierarchy of LoadExternal, Hash, SequenceComplete, HierarchyControl; the handle of
// EvictControl; the index of NV_DefineSpace; a signing scheme that spends a commitment, which needs Commit.
// A command does not tell whether an NV index is of `nv.pin`'s kind: the manager judges the index (space/protection.h).
// PCRs of PCR_Allocate and PCR_SetAuthPolicy are not judged: a client allowed to use these commands may change all
// PCRs. If a profile allows all values of a parameter, the parameter is not read. If a parameter must be read and is
// encrypted or cannot be parsed, the command is refused.
//
// Threads: pure. Costs: well below 1 us; no allocation (bench, unit tests).
// Codes: without a layer; the TPM's own codes for a missing or wrong entity (docs/profiles.md).
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
  kEveryNv,        // NV_AUTHORIZATION: the command concerns every NV index
  kNvAuthority,    // NV_AUTHORIZATION: not by owner or platform
  kPcr,            // PCR
  kCommitment,     // SCHEME, n: the command would spend a commitment
  kUnknownUse,     // HANDLE, n: only the chip knows how the command uses the handle
  kHidden,         // ATTRIBUTES, session n: the parameter to judge is encrypted
  kUnreadable,     // the TPM's code for the parse error, parameter n
};
struct Verdict {
  Reason reason = Reason::kAllowed;
  wire::Rc rc = wire::rc::kSuccess;
  std::string_view key = {};  // the configuration's key of the missing permission: "nv.write", or a class of commands

  [[nodiscard]] bool allowed() const { return reason == Reason::kAllowed; }
  bool operator==(const Verdict&) const = default;
};

// "the profile does not list this NV index under nv.write": for an audit record and `policy explain`.
[[nodiscard]] std::string sentence(const Verdict& verdict);

// NV indices whose own authorization the command tries, or to which the command binds a session: for PIN Fail indices,
// also if the policy of a policy session demands the authorization.
[[nodiscard]] Numbers tried_indices(const wire::Command& command);

[[nodiscard]] Verdict judge(const Profile& profile, const wire::Command& command, std::uint8_t locality);

}  // namespace tpmspace::guard
