// A profile: the permissions and limits of a client, as a plain value.
//
// Idea: allow-lists only. A profile's permissions are sets of numbers (wire/numbers.h): command codes, and for each
// operation on shared things, the allowed handles. A number in no set is refused, and so is a command newer than the
// table or a handle of an unforeseen kind. `narrow` is therefore the intersection of each set and the smaller of each
// limit.
// Threads: a value. Units: beside the fields. See guard/verdict.h for the judgement of a command by a profile, and
// guard/shipped.h for the shipped profiles.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "wire/command_table.h"
#include "wire/numbers.h"
#include "wire/session_terms.h"

namespace tpmspace::guard {

using wire::Numbers;

inline constexpr std::uint32_t kUnlimited = UINT32_MAX;

using wire::Exhaustion;
using wire::SessionTerms;

struct Limits {
  std::uint32_t connections = kUnlimited;  // of one owner
  std::uint32_t objects = 1000;            // of one space: transient objects and sequences
  std::uint32_t sessions = 64;             // of one space: active sessions
  std::uint64_t bytes = 64ULL << 20;       // of saved contexts, of one owner
  std::uint32_t share = 100;               // weight of TPM time among clients that want TPM time simultaneously
  std::uint8_t priority = 1;               // higher priority goes first
  // Of all clients with this profile together, if its lease is endless: active sessions that cannot be reclaimed.
  std::uint32_t endless_sessions = 16;

  bool operator==(const Limits&) const = default;
};

struct Profile {
  std::string name;

  Numbers commands;    // existing commands: for other commands the response is COMMAND_CODE
  Numbers disabled;    // commands that a rule on client, listener or time takes away: the response is DISABLED
  Numbers localities;  // 0..4, 32..255

  // TPM_RH_... handles, and handles without a set of their own. TPM_RH_NULL counts only as a parent of a new object:
  // elsewhere TPM_RH_NULL means "none".
  Numbers hierarchies;

  Numbers persistent_public;  // ReadPublic
  Numbers persistent_parent;  // Create, Load and similar commands with the object as parent
  Numbers persistent_salt;    // the salt key of a session
  Numbers persistent_use;     // every other use without a change
  Numbers persistent_evict;   // EvictControl, in both directions

  Numbers nv_public;     // NV_ReadPublic
  Numbers nv_read;       // NV_Read, NV_Certify, PolicyNV, PolicyAuthorizeNV
  Numbers nv_authorize;  // PolicySecret with the index's authorization, and binding a session to the index
  Numbers nv_write;      // NV_Write, NV_Increment, NV_Extend, NV_SetBits
  Numbers nv_lock;       // NV_ReadLock, NV_WriteLock; NV_GlobalWriteLock if the set has every index
  Numbers nv_define;     // NV_DefineSpace, NV_UndefineSpace, NV_ChangeAuth
  Numbers nv_by_owner;   // indices to read, write, lock by the authorization of owner (often empty) or platform
  Numbers nv_pin;        // PIN Fail indices whose own authorization the client may try; the manager knows the PIN Fail
                         // indices

  Numbers pcr_read;    // PCR_Read, and other outputs of PCR values: Quote, PolicyPCR, creation data
  Numbers pcr_extend;  // PCR_Extend, PCR_Event, EventSequenceComplete
  Numbers pcr_reset;

  SessionTerms terms = {};
  Limits limits = {};

  // Administer the manager: see other users' sessions, flush them, reserve sessions, make listeners, reload the policy.
  bool administer = false;

  bool operator==(const Profile&) const = default;
};

using SetMember = Numbers Profile::*;

// Every set that allows its members: all but `disabled`. For code that treats all sets alike.
struct SetOfProfile {
  std::string_view name;  // "nv.by-owner"
  SetMember set = nullptr;
};
inline constexpr std::array kSets = {
    SetOfProfile{"commands", &Profile::commands},
    SetOfProfile{"localities", &Profile::localities},
    SetOfProfile{"hierarchies", &Profile::hierarchies},
    SetOfProfile{"persistent.read-public", &Profile::persistent_public},
    SetOfProfile{"persistent.parent", &Profile::persistent_parent},
    SetOfProfile{"persistent.salt-key", &Profile::persistent_salt},
    SetOfProfile{"persistent.use", &Profile::persistent_use},
    SetOfProfile{"persistent.evict", &Profile::persistent_evict},
    SetOfProfile{"nv.read-public", &Profile::nv_public},
    SetOfProfile{"nv.read", &Profile::nv_read},
    SetOfProfile{"nv.authorize", &Profile::nv_authorize},
    SetOfProfile{"nv.write", &Profile::nv_write},
    SetOfProfile{"nv.lock", &Profile::nv_lock},
    SetOfProfile{"nv.define", &Profile::nv_define},
    SetOfProfile{"nv.by-owner", &Profile::nv_by_owner},
    SetOfProfile{"nv.pin", &Profile::nv_pin},
    SetOfProfile{"pcr.read", &Profile::pcr_read},
    SetOfProfile{"pcr.extend", &Profile::pcr_extend},
    SetOfProfile{"pcr.reset", &Profile::pcr_reset},
};

// A profile that allows only operations that both allow, with the smaller of each limit.
[[nodiscard]] Profile narrow(const Profile& a, const Profile& b);

// The commands named by a word: a class ("use-keys"), a name ("TPM2_NV_Read"), a code ("0x2000010a"), "all". The class
// "vendor" is every code that the builtin table lacks. Nullopt: the word names no command.
[[nodiscard]] std::optional<Numbers> commands_named(std::string_view word);
// All commands named by `allow` but not by `deny`: deny wins. Error: the first word that names no command.
[[nodiscard]] tl::expected<Numbers, std::string_view> commands_named(std::span<const std::string_view> allow,
                                                                     std::span<const std::string_view> deny);

}  // namespace tpmspace::guard
