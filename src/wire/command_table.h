// The only table of TPM 2.0 commands. Parser, residency, policy, metrics, trace, documentation and fuzz dictionary all
// read a command's row; no other place describes a command.
//
// Idea: a row is a declaration. At start the chip's own description (TPMA_CC in GetCapability(COMMANDS)) overrides the
// row: see `CommandTable::adopt`.
// Threads: `builtin()` is constant; a `CommandTable` is a value, constant once the daemon has adopted the chip's list.
// Source: TPM 2.0 library, Part 3 (rev. 1.59 and 1.83); section numbers are from rev. 1.59 unless marked 1.83.
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

// The permission that a command needs. The guard's profiles are written in these words.
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
  kVendor,     // commands that only this chip knows
};

// How long a healthy TPM may take. The deadlines are a generous multiple: see `deadline_ms`.
enum class DurationClass : std::uint8_t {
  kShort,   // bookkeeping: milliseconds
  kMedium,  // symmetric work, loading, NV: up to hundreds of milliseconds
  kLong,    // an asymmetric private-key operation, self test: seconds
  kKeygen,  // looks for primes: up to minutes
};

// A chip that has not answered after this time counts as lost.
[[nodiscard]] std::uint32_t deadline_ms(DurationClass duration);

// The kind of the response handle.
enum class Creates : std::uint8_t { kNothing, kObject, kSequence, kSession, kByContext };

// The effects of success beyond the new entity.
enum class Effect : std::uint8_t {
  kNone,
  kFlushContext,      // the handle *parameter* is flushed
  kContextSave,       // a saved session leaves the TPM; an object stays
  kContextLoad,       // the context's savedHandle tells the kind of the new entity
  kClear,             // owner and endorsement hierarchies are emptied
  kHierarchyControl,  // switching a hierarchy off flushes its objects
  kChangeEps,         // the endorsement hierarchy is emptied
  kChangePps,         // the platform hierarchy is emptied
  kPower,             // Startup, Shutdown
};

// The effect of a command on a policy session, which is the command's last handle.
enum class PolicyEffect : std::uint8_t {
  kNone,       // not a policy command, or reads only
  kStep,       // a step with the same result when repeated (docs/tpm-behaviour.md 28)
  kFreshStep,  // the same, unless the step has a nonce of the session: its first parameter is not empty
  kOnceOnly,   // a step that depends on a secret, the time or NV: the manager cannot repeat it
  kRestart,    // removes all steps
};

// The use of the entity at one place of the handle area. The guard's ranges are written in these words.
enum class HandleUse : std::uint8_t {
  kUnknown,      // only the chip knows: anything
  kOwn,          // a session, a sequence, an entity to save: never an entity that clients share
  kPublic,       // only the public area is read
  kUse,          // a key: its secret, its authorization, or the TPM's time for its public part
  kParent,       // a storage key or a hierarchy under which an object is made, loaded or wrapped
  kSaltKey,      // decrypts a session's salt
  kAuthority,    // authorizes, or a session is bound to the entity: a wrong value can lock the entity
  kNvAuthority,  // authorizes the action on the NV index in the next place: owner, platform or the index itself
  kNvRead,
  kNvWrite,
  kNvLock,
  kNvLockAll,  // authorizes, and locks NV indices that are not named
  kNvDefine,
  kPcrExtend,
  kPcrReset,
  kEvict,  // is made persistent, or stops being persistent
};

// The parameter that names an access-controlled entity, after a number of TPM2Bs.
enum class Names : std::uint8_t {
  kNothing,
  kHierarchy,         // TPMI_RH_HIERARCHY or TPMI_RH_ENABLES
  kHashAndHierarchy,  // TPMI_ALG_HASH, then a hierarchy
  kPersistent,        // TPMI_DH_PERSISTENT
  kNvPublic,          // TPM2B_NV_PUBLIC
  kNvPublic2,         // TPM2B_NV_PUBLIC_2
  kPcrs,              // TPML_PCR_SELECTION
  kScheme,            // TPMT_SIG_SCHEME: a scheme with a counter names a commitment, possibly of another client
  kSchemeAndPcrs,     // TPMT_SIG_SCHEME, then TPML_PCR_SELECTION
};
struct NamedInParameters {
  Names what = Names::kNothing;
  std::uint8_t after = 0;  // TPM2Bs; the contents may be encrypted, the sizes never
};

inline constexpr std::size_t kMaxHandles = 3;
inline constexpr std::size_t kMaxAuthorizations = 3;

struct CommandRow {
  CommandCode code = 0;
  std::string_view name;     // "TPM2_CreatePrimary"
  std::uint8_t handles = 0;  // in the handle area of the command, 0..3
  std::array<HandleUse, kMaxHandles> uses = {};
  std::uint8_t auth_handles = 0;  // how many of the handles (the first ones) need an authorization
  PermissionClass permission = PermissionClass::kVendor;
  DurationClass duration = DurationClass::kLong;
  NamedInParameters names = {};
  std::string_view section;  // of Part 3: "24.1"
  // The first parameter is a TPM2B, so a session may encrypt it; for a command that only the chip knows: perhaps.
  bool encryptable = false;
  // Success changes state that other users of the TPM rely on (not only data in one NV index or PCR): the command is
  // audited.
  bool affects_others = false;

  Creates creates = Creates::kNothing;  // response handle, if not kNothing
  std::int8_t flushes_handle = -1;      // index in the handle area of the entity that success removes; -1: none
  bool sessions_allowed = true;         // false: TPM_ST_NO_SESSIONS only (RC_AUTH_CONTEXT otherwise)
  bool nv = false;                      // TPMA_CC nv: may write NV
  bool extensive = false;               // TPMA_CC extensive: may flush many objects
  // Free object slots during the command, beyond one for each persistent handle and one for a returned object
  // (docs/tpm-behaviour.md, "Object slots"; measured on libtpms).
  std::uint8_t scratch_slots = 0;
  Effect effect = Effect::kNone;
  PolicyEffect policy = PolicyEffect::kNone;

  [[nodiscard]] bool has_response_handle() const { return creates != Creates::kNothing; }
};

// A command's attributes as a TPM reports them (TPMA_CC, Part 2, 8.9).
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
  // Every known command of the library specification, for any chip; no vendor commands.
  [[nodiscard]] static const CommandTable& builtin();

  // Null for a code outside of the table.
  [[nodiscard]] const CommandRow* find(CommandCode code) const;
  [[nodiscard]] std::span<const CommandRow> rows() const { return rows_; }

  // Adopts the chip's description: commands that the chip lacks leave the table, vendor commands and unknown commands
  // enter the table, handle counts follow the chip. Returns one sentence for each difference in a common command, for
  // the daemon's log. A missing command is not a difference.
  std::vector<std::string> adopt(std::span<const CommandAttributes> chip);

 private:
  std::vector<CommandRow> rows_;  // ordered by code
};

[[nodiscard]] std::string_view name_of(PermissionClass permission);  // "use-keys"
[[nodiscard]] std::string_view name_of(DurationClass duration);      // "short"

}  // namespace tpmspace::wire
