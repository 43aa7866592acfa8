#include "guard/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

using wire::HandleKind;
using wire::HandleUse;
using wire::Names;
namespace rc = wire::rc;

constexpr Verdict kAllowed = {};
constexpr std::uint32_t kNull = static_cast<std::uint32_t>(wire::Hierarchy::kNull);
constexpr Numbers::Range kEveryNvIndex = {0x01000000, 0x01FFFFFF}, kEveryPcr = {0, 0x00FFFFFF},
                         kEverything = {0, UINT32_MAX};

constexpr std::string_view key_of(SetMember set) {
  for (const SetOfProfile& one : kSets)
    if (one.set == set) return one.name;
  return "";
}

Verdict listed(const Profile& profile, SetMember set, std::uint32_t number, Reason reason, wire::Rc code) {
  return (profile.*set).contains(number) ? kAllowed : Verdict{reason, code, key_of(set)};
}

// --- Handles. `n` counts from 1.

// A use that the row does not explain may be any use.
Verdict unexplained(const Profile& profile, std::uint32_t handle, unsigned n) {
  const bool everything = std::all_of(kSets.begin(), kSets.end(), [&](const SetOfProfile& one) {
    return one.set == &Profile::commands || one.set == &Profile::localities || (profile.*one.set).contains(handle);
  });
  return everything ? kAllowed : Verdict{Reason::kUnknownUse, rc::in_handle(rc::kHandle, n)};
}

Verdict hierarchy(const Profile& profile, std::uint32_t handle, HandleUse use, unsigned n) {
  const bool means_none = handle == kNull && use != HandleUse::kParent && use != HandleUse::kUnknown;
  if (!means_none && !profile.hierarchies.contains(handle))
    return {Reason::kHierarchy, rc::in_handle(rc::kHierarchy, n), key_of(&Profile::hierarchies)};
  if (use == HandleUse::kNvLockAll && !profile.nv_lock.contains(kEveryNvIndex))
    return {Reason::kEveryNv, rc::kNvAuthorization, key_of(&Profile::nv_lock)};
  return kAllowed;
}

Verdict persistent(const Profile& profile, std::uint32_t handle, HandleUse use, unsigned n) {
  SetMember set = &Profile::persistent_use;
  switch (use) {
    case HandleUse::kUnknown:
      return unexplained(profile, handle, n);
    case HandleUse::kPublic:
      set = &Profile::persistent_public;
      break;
    case HandleUse::kParent:
      set = &Profile::persistent_parent;
      break;
    case HandleUse::kSaltKey:
      set = &Profile::persistent_salt;
      break;
    case HandleUse::kEvict:
      set = &Profile::persistent_evict;
      break;
    default:
      break;
  }
  return listed(profile, set, handle, Reason::kPersistent, rc::in_handle(rc::kHandle, n));
}

SetMember nv_set(HandleUse use) {
  switch (use) {
    case HandleUse::kPublic:
      return &Profile::nv_public;
    case HandleUse::kAuthority:
      return &Profile::nv_authorize;
    case HandleUse::kNvRead:
      return &Profile::nv_read;
    case HandleUse::kNvWrite:
      return &Profile::nv_write;
    case HandleUse::kNvLock:
      return &Profile::nv_lock;
    case HandleUse::kNvDefine:
      return &Profile::nv_define;
    default:
      return nullptr;
  }
}

Verdict nv_index(const Profile& profile, std::uint32_t handle, HandleUse use, unsigned n) {
  const SetMember set = nv_set(use);
  if (set == nullptr) return unexplained(profile, handle, n);
  return listed(profile, set, handle, Reason::kNv, rc::kNvAuthorization);
}

// `authority` may be the index itself (judged in the next place), or owner or platform if the profile lists the
// hierarchy and lists the index under nv.by-owner. Another index only gives its authorization, and the TPM refuses.
Verdict nv_authority(const Profile& profile, std::uint32_t authority, std::uint32_t index, unsigned n) {
  if (authority == index) return kAllowed;
  if (wire::is_nv(authority)) return nv_index(profile, authority, HandleUse::kAuthority, n);
  if (!profile.hierarchies.contains(authority))
    return {Reason::kHierarchy, rc::in_handle(rc::kHierarchy, n), key_of(&Profile::hierarchies)};
  return listed(profile, &Profile::nv_by_owner, index, Reason::kNvAuthority, rc::kNvAuthorization);
}

Verdict pcr(const Profile& profile, std::uint32_t handle, HandleUse use, unsigned n) {
  SetMember set = nullptr;
  if (use == HandleUse::kPcrExtend) set = &Profile::pcr_extend;
  if (use == HandleUse::kPcrReset) set = &Profile::pcr_reset;
  if (use == HandleUse::kAuthority)
    set = &Profile::pcr_read;  // PolicySecret, bind: reveals no more than knowledge of
                               // the authorization
  if (set == nullptr) return unexplained(profile, handle, n);
  return listed(profile, set, handle, Reason::kPcr, rc::kPcr);
}

Verdict judge_handle(const Profile& profile, const wire::Command& command, std::size_t index) {
  const std::uint32_t handle = command.handle(index).value;
  const HandleUse use = command.row().uses[index];
  const auto n = static_cast<unsigned>(index + 1);
  if (use == HandleUse::kNvAuthority) return nv_authority(profile, handle, command.handle(index + 1).value, n);
  if (wire::is_transient(handle) || wire::is_session(handle)) return kAllowed;
  // A session bound to a key proves knowledge of the key's authorization, like a use as a parent.
  const bool bound = use == HandleUse::kAuthority && index >= command.row().auth_handles;
  if (wire::is_persistent(handle)) return persistent(profile, handle, bound ? HandleUse::kParent : use, n);
  if (wire::is_nv(handle)) return nv_index(profile, handle, use, n);
  if (wire::kind_of(handle) == HandleKind::kPcr) return pcr(profile, handle, use, n);
  if (wire::kind_of(handle) == HandleKind::kAttachedComponent && use == HandleUse::kPublic) return kAllowed;
  return hierarchy(profile, handle, use, n);
}

// --- Parameters. `n` counts from 1.

constexpr std::uint16_t kNoScheme = 0x0010, kAnonymous = 0x001A;  // TPM_ALG_NULL, TPM_ALG_ECDAA
constexpr std::uint32_t kMaxSelections =
    16;  // a TPM takes HASH_COUNT banks of PCR_SELECT_MAX bytes: fewer than this number

Verdict unreadable(wire::Rc code, unsigned n) {
  return {Reason::kUnreadable, rc::in_parameter(code, n)};
}

Verdict judge_hierarchy(const Profile& profile, wire::Reader& in, unsigned n) {
  const auto handle = in.u32();
  if (!handle) return unreadable(rc::kInsufficient, n);
  if (*handle == kNull) return kAllowed;
  return listed(profile, &Profile::hierarchies, *handle, Reason::kHierarchy, rc::in_parameter(rc::kHierarchy, n));
}

Verdict judge_persistent(const Profile& profile, wire::Reader& in, unsigned n) {
  const auto handle = in.u32();
  if (!handle) return unreadable(rc::kInsufficient, n);
  return listed(profile, &Profile::persistent_evict, *handle, Reason::kPersistent, rc::in_parameter(rc::kHandle, n));
}

// The index is the first field of TPMS_NV_PUBLIC; TPMT_NV_PUBLIC_2 has the kind before the index, in one byte.
Verdict judge_nv_public(const Profile& profile, wire::Reader& in, bool with_kind, unsigned n) {
  const auto size = in.u16();
  const bool kind = !with_kind || in.u8();
  const auto index = in.u32();
  if (!size || !kind || !index) return unreadable(rc::kInsufficient, n);
  return listed(profile, &Profile::nv_define, *index, Reason::kNv, rc::kNvAuthorization);
}

// Selections of all banks together, as a single selection.
Verdict judge_pcrs(const Profile& profile, wire::Reader& in, unsigned n) {
  const auto count = in.u32();
  if (!count) return unreadable(rc::kInsufficient, n);
  if (*count > kMaxSelections) return unreadable(rc::kSize, n);
  std::uint64_t selected = 0;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto hash = in.u16();
    const auto size = in.u8();
    if (!hash || !size) return unreadable(rc::kInsufficient, n);
    if (*size > sizeof selected) return unreadable(rc::kValue, n);
    const auto select = in.take(*size);
    if (!select) return unreadable(rc::kInsufficient, n);
    for (std::size_t byte = 0; byte < select->size(); ++byte) selected |= std::uint64_t{(*select)[byte]} << (8 * byte);
  }
  for (; selected != 0; selected &= selected - 1)
    if (!profile.pcr_read.contains(static_cast<std::uint32_t>(std::countr_zero(selected))))
      return {Reason::kPcr, rc::kPcr, key_of(&Profile::pcr_read)};
  return kAllowed;
}

// Leaves `in` behind the scheme. A profile with Commit may spend a commitment.
Verdict judge_scheme(const Profile& profile, wire::Reader& in, unsigned n) {
  const auto scheme = in.u16();
  if (!scheme) return unreadable(rc::kInsufficient, n);
  if (*scheme == kAnonymous && !profile.commands.contains(wire::cc::kCommit))
    return {Reason::kCommitment, rc::in_parameter(rc::kScheme, n)};
  if (*scheme == kNoScheme) return kAllowed;
  const bool complete = in.u16().has_value() && (*scheme != kAnonymous || in.u16().has_value());  // hash, counter
  return complete ? kAllowed : unreadable(rc::kInsufficient, n);
}

Verdict judge_scheme_and_pcrs(const Profile& profile, wire::Reader& in, unsigned n) {
  const Verdict verdict = judge_scheme(profile, in, n);
  return verdict.allowed() ? judge_pcrs(profile, in, n + 1) : verdict;
}

Verdict judge_hash_and_hierarchy(const Profile& profile, wire::Reader& in, unsigned n) {
  return in.u16() ? judge_hierarchy(profile, in, n + 1) : unreadable(rc::kInsufficient, n);
}

// A parameter whose values the profile allows completely need not be read: the TPM reports its errors.
bool must_read(const Profile& profile, Names names) {
  const bool may_commit = profile.commands.contains(wire::cc::kCommit);
  switch (names) {
    case Names::kNothing:
      return false;
    case Names::kHierarchy:
    case Names::kHashAndHierarchy:
      return !profile.hierarchies.contains(kEverything);
    case Names::kPersistent:
      return !profile.persistent_evict.contains(kEverything);
    case Names::kNvPublic:
    case Names::kNvPublic2:
      return !profile.nv_define.contains(kEverything);
    case Names::kPcrs:
      return !profile.pcr_read.contains(kEveryPcr);
    case Names::kScheme:
      return !may_commit;
    case Names::kSchemeAndPcrs:
      return !may_commit || !profile.pcr_read.contains(kEveryPcr);
  }
  return true;
}

// Counted from 1; the session that encrypts the first parameter.
std::optional<unsigned> session_that_hides(const wire::Command& command) {
  const auto& sessions = command.authorizations();
  for (std::size_t i = 0; i < sessions.size(); ++i)
    if ((sessions[i].attributes & wire::session_attribute::kDecrypt) != 0) return static_cast<unsigned>(i + 1);
  return std::nullopt;
}

Verdict judge_parameters(const Profile& profile, const wire::Command& command) {
  const auto [names, after] = command.row().names;
  if (!must_read(profile, names)) return kAllowed;
  if (after == 0)
    if (const auto session = session_that_hides(command))
      return {Reason::kHidden, rc::in_session(rc::kAttributes, *session)};
  wire::Reader in(command.parameters());
  for (unsigned i = 1; i <= after; ++i)
    if (!in.tpm2b()) return unreadable(rc::kInsufficient, i);

  const unsigned n = after + 1U;
  switch (names) {
    case Names::kNothing:
      return kAllowed;
    case Names::kHierarchy:
      return judge_hierarchy(profile, in, n);
    case Names::kHashAndHierarchy:
      return judge_hash_and_hierarchy(profile, in, n);
    case Names::kPersistent:
      return judge_persistent(profile, in, n);
    case Names::kNvPublic:
      return judge_nv_public(profile, in, false, n);
    case Names::kNvPublic2:
      return judge_nv_public(profile, in, true, n);
    case Names::kPcrs:
      return judge_pcrs(profile, in, n);
    case Names::kScheme:
      return judge_scheme(profile, in, n);
    case Names::kSchemeAndPcrs:
      return judge_scheme_and_pcrs(profile, in, n);
  }
  return unreadable(rc::kInsufficient, n);
}

}  // namespace

Verdict judge(const Profile& profile, const wire::Command& command, std::uint8_t locality) {
  if (!profile.commands.contains(command.code()))
    return {Reason::kNoSuchCommand, rc::kCommandCode, wire::name_of(command.row().permission)};
  if (profile.disabled.contains(command.code())) return {Reason::kDisabled, rc::kDisabled};
  if (!profile.localities.contains(locality)) return {Reason::kLocality, rc::kLocality, key_of(&Profile::localities)};
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    if (const Verdict verdict = judge_handle(profile, command, i); !verdict.allowed()) return verdict;
  return judge_parameters(profile, command);
}

Numbers tried_indices(const wire::Command& command) {
  const bool may_bind = command.code() == wire::cc::kStartAuthSession;
  Numbers out;
  for (std::size_t i = 0; i < command.handle_count(); ++i) {
    const std::uint32_t handle = command.handle(i).value;
    if (wire::is_nv(handle) && (may_bind || i < command.row().auth_handles)) out = out | Numbers::one(handle);
  }
  return out;
}

std::string sentence(const Verdict& verdict) {
  switch (verdict.reason) {
    case Reason::kAllowed:
      return "allowed";
    case Reason::kNoSuchCommand:
      return fmt::format("the profile does not list this command, which is of the class {}", verdict.key);
    case Reason::kDisabled:
      return "a rule disables this command";
    case Reason::kLocality:
      return fmt::format("the profile does not list this locality under {}", verdict.key);
    case Reason::kHierarchy:
      return fmt::format("the profile does not list this hierarchy under {}", verdict.key);
    case Reason::kPersistent:
      return fmt::format(
          "the profile does not list this persistent object under {}, or this client has no object of that number: "
          "namespaces have handles of their own",
          verdict.key);
    case Reason::kNv:
      return fmt::format("the profile does not list this NV index under {}", verdict.key);
    case Reason::kEveryNv:
      return fmt::format("the command concerns all NV indices, and the profile does not list all of them under {}",
                         verdict.key);
    case Reason::kNvAuthority:
      return fmt::format(
          "the profile does not list this NV index under {}, as one to be used by the authorization of owner or "
          "platform",
          verdict.key);
    case Reason::kPcr:
      return fmt::format("the profile does not list this PCR under {}", verdict.key);
    case Reason::kCommitment:
      return "this scheme spends a counter that all clients share, which needs TPM2_Commit";
    case Reason::kUnknownUse:
      return "the effect of the command on this handle is unknown, and the profile does not list the handle in every "
             "set";
    case Reason::kHidden:
      return "the parameter that must be judged is encrypted";
    case Reason::kUnreadable:
      return "the parameter that must be judged cannot be read";
  }
  return "";
}

}  // namespace tpmspace::guard
