// The one table of TPM 2.0 commands. Parser, residency, policy, metrics, trace, documentation and fuzz dictionary all
// read a command's row; nothing about a command is written anywhere else.
//
// Idea: a row is a declaration. What a TPM says about itself (TPMA_CC in GetCapability(COMMANDS)) is adopted over the
// row at start: see `CommandTable::adopt`.
// Threads: `builtin()` is constant; a `CommandTable` is a value, constant once the daemon has adopted the chip's list.
// Source: TPM 2.0 library, Part 3 (rev. 1.59 and 1.83); section numbers are those of rev. 1.59 unless they say 1.83.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wire/bytes.h"

namespace tpmspace::wire {

using CommandCode = std::uint32_t;

namespace cc {
#define TPMSPACE_CC(name, code) inline constexpr CommandCode k##name = code;
#include "wire/command_codes.inc"
#undef TPMSPACE_CC
}  // namespace cc

// Who would normally be allowed to do this. The guard's profiles are written in these words.
enum class PermissionClass : std::uint8_t {
  kReadPublic,     // no secret and no change: capabilities, public areas, clock, test results
  kRandom,         // GetRandom, StirRandom, hashing without a key
  kPcrRead,        // PCR_Read and policy checks that read PCRs
  kPcrExtend,      // PCR_Extend, PCR_Event, EventSequenceComplete
  kPcrReset,       // PCR_Reset
  kSessions,       // StartAuthSession, policy commands
  kContext,        // ContextSave, ContextLoad, FlushContext
  kCreateKeys,     // CreatePrimary, Create, CreateLoaded
  kLoadKeys,       // Load, LoadExternal
  kUseKeys,        // Sign, decrypt, HMAC, Unseal, ECDH
  kAttest,         // Quote, Certify, GetTime, audits
  kCredential,     // MakeCredential, ActivateCredential
  kMigrate,        // Duplicate, Import, Rewrap
  kSharedCounter,  // Commit, EC_Ephemeral: a counter all users of the chip share
  kNvRead,
  kNvWrite,
  kNvLock,
  kNvDefine,
  kEvict,      // EvictControl: persistent objects
  kHierarchy,  // Clear, ChangeEPS, hierarchy authorizations and policies
  kLockout,    // dictionary-attack parameters and reset
  kPlatform,   // PCR_Allocate, PP_Commands, SetAlgorithmSet, clocks
  kAudit,      // SetCommandCodeAuditStatus
  kPower,      // Startup, Shutdown, SelfTest
  kFirmware,   // FieldUpgrade*
  kVendor,     // whatever only this chip knows
};

// How long a healthy TPM may take. The deadlines are a generous multiple: see `deadline_ms`.
enum class DurationClass : std::uint8_t {
  kShort,   // bookkeeping: milliseconds
  kMedium,  // symmetric work, loading, NV: up to hundreds of milliseconds
  kLong,    // an asymmetric private-key operation, self test: seconds
  kKeygen,  // looks for primes: up to minutes
};

// After this long without an answer the chip is held to be lost.
[[nodiscard]] std::uint32_t deadline_ms(DurationClass duration);

// What the response handle is, if there is one.
enum class Creates : std::uint8_t { kNothing, kObject, kSequence, kSession, kByContext };

// What success changes beyond the entity that is created.
enum class Effect : std::uint8_t {
  kNone,
  kFlushContext,      // the handle *parameter* is flushed
  kContextSave,       // a saved session leaves the TPM; an object stays
  kContextLoad,       // what arrives is told by the context's savedHandle
  kClear,             // owner and endorsement hierarchies are emptied
  kHierarchyControl,  // switching a hierarchy off flushes it
  kChangeEps,         // the endorsement hierarchy is emptied
  kChangePps,         // the platform hierarchy is emptied
  kPower,             // Startup, Shutdown
};

// What a command does to a policy session, which is the last of its handles.
enum class PolicyEffect : std::uint8_t {
  kNone,       // it is no policy command, or only looks
  kStep,       // a step that has the same result when it is done again (TPM-RULES 28)
  kFreshStep,  // likewise, unless it has a nonce of the session: its first parameter is not empty
  kOnceOnly,   // a step that depends on a secret, the time or NV: it cannot be done for the client
  kRestart,    // no step is left
};

// What a command does with what stands in a place of its handle area. The guard's ranges are written in these words.
enum class HandleUse : std::uint8_t {
  kUnknown,      // only the chip knows: anything
  kOwn,          // a session, a sequence, what is to be saved: nothing that clients share can stand here
  kPublic,       // its public area is read, and nothing else
  kUse,          // a key: its secret, its authorization, or the TPM's time for its public part
  kParent,       // something is made, loaded or wrapped under it: a storage key or a hierarchy
  kSaltKey,      // a session's salt is decrypted with it
  kAuthority,    // it authorizes, or a session is bound to it: what a wrong value can lock
  kNvAuthority,  // authorizes what is done to the NV index in the next place: owner, platform or that index itself
  kNvRead,
  kNvWrite,
  kNvLock,
  kNvLockAll,  // it authorizes, and NV indices that are not named are locked
  kNvDefine,
  kPcrExtend,
  kPcrReset,
  kEvict,  // is made persistent, or ends being it
};

// What in the parameters names something that is not everybody's, and comes after so many TPM2Bs.
enum class Names : std::uint8_t {
  kNothing,
  kHierarchy,         // TPMI_RH_HIERARCHY or TPMI_RH_ENABLES
  kHashAndHierarchy,  // TPMI_ALG_HASH, then a hierarchy
  kPersistent,        // TPMI_DH_PERSISTENT
  kNvPublic,          // TPM2B_NV_PUBLIC
  kNvPublic2,         // TPM2B_NV_PUBLIC_2
  kPcrs,              // TPML_PCR_SELECTION
  kScheme,            // TPMT_SIG_SCHEME: one with a counter names a commitment that anybody's may be
  kSchemeAndPcrs,     // TPMT_SIG_SCHEME, then TPML_PCR_SELECTION
};
struct NamedInParameters {
  Names what = Names::kNothing;
  std::uint8_t after = 0;  // TPM2Bs; their contents may be encrypted, their sizes never are
};

inline constexpr std::size_t kMaxHandles = 3;
inline constexpr std::size_t kMaxAuthorizations = 3;

struct CommandRow {
  CommandCode code = 0;
  std::string_view name;     // "TPM2_CreatePrimary"
  std::uint8_t handles = 0;  // in the handle area of the command, 0..3
  std::array<HandleUse, kMaxHandles> uses = {};
  std::uint8_t auth_handles = 0;  // how many of them (the first ones) need an authorization
  PermissionClass permission = PermissionClass::kVendor;
  DurationClass duration = DurationClass::kLong;
  NamedInParameters names = {};
  std::string_view section;  // of Part 3: "24.1"
  // The first parameter is a TPM2B, so that a session may encrypt it; of a command that only the chip knows, perhaps.
  bool encryptable = false;
  // Success changes what other users of the TPM rely on (not only data in one NV index or PCR): it is audited.
  bool affects_others = false;

  Creates creates = Creates::kNothing;  // response handle, if not kNothing
  std::int8_t flushes_handle = -1;      // index in the handle area of what success removes; -1: none
  bool sessions_allowed = true;         // false: TPM_ST_NO_SESSIONS only (RC_AUTH_CONTEXT otherwise)
  bool nv = false;                      // TPMA_CC nv: may write NV
  bool extensive = false;               // TPMA_CC extensive: may flush many objects
  // Free object slots it needs meanwhile, beyond one for each persistent handle and one for a returned object
  // (TPM-RULES "Slots"; measured on libtpms).
  std::uint8_t scratch_slots = 0;
  Effect effect = Effect::kNone;
  PolicyEffect policy = PolicyEffect::kNone;

  [[nodiscard]] bool has_response_handle() const { return creates != Creates::kNothing; }
};

// A command's attributes as a TPM tells them (TPMA_CC, Part 2, 8.9).
struct CommandAttributes {
  std::uint32_t raw = 0;
  [[nodiscard]] CommandCode code() const { return (raw & 0xFFFF) | (vendor() ? 0x20000000U : 0U); }
  [[nodiscard]] bool nv() const { return (raw >> 22 & 1) != 0; }
  [[nodiscard]] bool extensive() const { return (raw >> 23 & 1) != 0; }
  [[nodiscard]] bool flushed() const { return (raw >> 24 & 1) != 0; }
  [[nodiscard]] unsigned handles() const { return raw >> 25 & 7; }
  [[nodiscard]] bool response_handle() const { return (raw >> 28 & 1) != 0; }
  [[nodiscard]] bool vendor() const { return (raw >> 29 & 1) != 0; }
};

class CommandTable {
 public:
  // Every command of the library specification that we know; no vendor commands. Nothing is left out for any chip.
  [[nodiscard]] static const CommandTable& builtin();

  // Null for a code that is not in the table.
  [[nodiscard]] const CommandRow* find(CommandCode code) const;
  [[nodiscard]] std::span<const CommandRow> rows() const { return rows_; }

  // Takes over what the chip says of itself: commands it lacks leave the table, vendor commands and unknown ones enter
  // it, handle counts follow the chip. Returns one sentence for each difference in a command that both know, so that
  // the daemon can log it. Commands the chip lacks are no difference.
  std::vector<std::string> adopt(std::span<const CommandAttributes> chip);

 private:
  std::vector<CommandRow> rows_;  // ordered by code
};

[[nodiscard]] std::string_view name_of(PermissionClass permission);  // "use-keys"
[[nodiscard]] std::string_view name_of(DurationClass duration);      // "short"

}  // namespace tpmspace::wire
