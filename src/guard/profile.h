// What a client may do and have: a profile, as a plain value.
//
// Idea: allow-lists only. Everything a profile allows is a set of numbers (wire/numbers.h): command codes, and for
// each thing that can be done to what clients share, the handles it may be done to. What is in no set is refused, so a
// command newer than the table is, and so is a handle of a kind that nobody thought of. `narrow` is therefore the
// intersection of each set and the smaller of each limit.
// Threads: a value. Units: beside the fields. How a command is judged by one: guard/verdict.h. The shipped ones:
// guard/shipped.h.
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

namespace tpmspace::guard {

using wire::Numbers;

inline constexpr std::uint32_t kUnlimited = UINT32_MAX;

// What happens when there is no session for it now, the least demanding first (docs/sessions.md).
enum class Exhaustion : std::uint8_t { kRefuse, kClose, kWait, kReclaim };

// On what terms it has sessions. Units: sessions, nanoseconds.
struct SessionTerms {
  std::uint32_t claim = 3;
  std::uint64_t lease = 10'000'000'000;
  std::uint64_t tenure = 10'000'000'000;
  std::uint64_t deadline = 30'000'000'000;
  Exhaustion exhaustion = Exhaustion::kReclaim;

  bool operator==(const SessionTerms&) const = default;
};

struct Limits {
  std::uint32_t connections = kUnlimited;  // of one owner
  std::uint32_t objects = 1000;            // of one space: transient objects and sequences
  std::uint32_t sessions = 64;             // of one space: active ones
  std::uint64_t bytes = 64ULL << 20;       // of saved contexts, of one owner
  std::uint32_t share = 100;               // of TPM time: its weight against others who want it at the same time
  std::uint8_t priority = 1;               // higher goes first
  // Of all clients that have this profile together, if its lease is endless: active sessions that nobody can take.
  std::uint32_t endless_sessions = 16;

  bool operator==(const Limits&) const = default;
};

struct Profile {
  std::string name;

  Numbers commands;    // those that exist for it: others are answered COMMAND_CODE
  Numbers disabled;    // of those, what a rule about who, listener or time takes away: answered DISABLED
  Numbers localities;  // 0..4, 32..255

  // TPM_RH_... handles, and whatever has no set of its own. TPM_RH_NULL counts only where something is made under it:
  // elsewhere it means "none".
  Numbers hierarchies;

  Numbers persistent_public;  // ReadPublic
  Numbers persistent_parent;  // Create, Load and others under it
  Numbers persistent_salt;    // the salt key of a session
  Numbers persistent_use;     // everything else that is no change
  Numbers persistent_evict;   // EvictControl, either way

  Numbers nv_public;     // NV_ReadPublic
  Numbers nv_read;       // NV_Read, NV_Certify, PolicyNV, PolicyAuthorizeNV
  Numbers nv_authorize;  // PolicySecret with the index's authorization, and binding a session to it
  Numbers nv_write;      // NV_Write, NV_Increment, NV_Extend, NV_SetBits
  Numbers nv_lock;       // NV_ReadLock, NV_WriteLock; NV_GlobalWriteLock if every index is in it
  Numbers nv_define;     // NV_DefineSpace, NV_UndefineSpace, NV_ChangeAuth
  Numbers nv_by_owner;   // those it may read, write, lock by the authorization of owner (often empty) or platform
  Numbers nv_pin;        // PIN Fail indices whose own authorization it may try; which are the manager knows

  Numbers pcr_read;    // PCR_Read, and wherever else values go: Quote, PolicyPCR, creation data
  Numbers pcr_extend;  // PCR_Extend, PCR_Event, EventSequenceComplete
  Numbers pcr_reset;

  SessionTerms terms = {};
  Limits limits = {};

  // The manager itself: sees what is others', and may flush their sessions, keep sessions where they are, make
  // listeners, have the policy read again.
  bool administer = false;

  bool operator==(const Profile&) const = default;
};

using SetMember = Numbers Profile::*;

// Every set in which being means being allowed: all but `disabled`. For what treats all alike.
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

// A profile that allows nothing that either of the two refuses, and has no more of anything than either has.
[[nodiscard]] Profile narrow(const Profile& a, const Profile& b);

// The commands that a word stands for: a class ("use-keys"), a name ("TPM2_NV_Read"), a code ("0x2000010a"), "all".
// The class "vendor" is every code that the builtin table lacks. Nullopt: the word stands for none.
[[nodiscard]] std::optional<Numbers> commands_named(std::string_view word);
// All that `allow` names but what `deny` names: deny wins. Error: the first word that stands for nothing.
[[nodiscard]] tl::expected<Numbers, std::string_view> commands_named(std::span<const std::string_view> allow,
                                                                     std::span<const std::string_view> deny);

}  // namespace tpmspace::guard
