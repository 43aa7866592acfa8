#include "guard/shipped.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <initializer_list>

#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

Numbers commands(std::initializer_list<std::string_view> allow, std::initializer_list<std::string_view> deny = {}) {
  const auto out = commands_named(std::span(allow.begin(), allow.size()), std::span(deny.begin(), deny.size()));
  assert(out && "a word of a shipped profile stands for nothing");
  return out.value_or(Numbers());
}

Numbers hierarchies(std::initializer_list<wire::Hierarchy> list) {
  Numbers out;
  for (const auto one : list) out = out | Numbers::one(static_cast<std::uint32_t>(one));
  return out;
}

using H = wire::Hierarchy;

constexpr Numbers::Range kPcrs = {0, 0x00FFFFFF};
// Persistent objects of the owner and endorsement hierarchies; the platform's handles are above (Part 2, 7.5; TCG
// registry of reserved handles).
constexpr Numbers::Range kPersistent = {0x81000000, 0x817FFFFF};
constexpr Numbers::Range kAllPersistent = {0x81000000, 0x81FFFFFF};
constexpr Numbers::Range kEndorsementKeys = {0x81010000, 0x8101FFFF};
constexpr Numbers::Range kNv = {0x01000000, 0x01FFFFFF};
// Without the indices that TCG reserves for certificates of the endorsement keys and of the platform.
constexpr Numbers::Range kFreeNv = {0x01000000, 0x01BFFFFF};

Profile make_safe() {
  Profile out;
  out.name = "safe";
  // EventSequenceComplete may have TPM_RH_NULL in place of a PCR, and then only hashes. GetCommandAuditDigest begins a
  // new digest for the whole chip. ZGen_2Phase spends a commitment made by Commit or EC_Ephemeral, and the owner of the
  // commitment is unknown. CertifyX509 is known to crash libtpms in several ways (docs/known-crashes.md).
  out.commands = commands({"read-public", "random", "pcr-read", "sessions", "context", "create-keys", "load-keys",
                           "use-keys", "attest", "credential", "nv-read", "TPM2_EventSequenceComplete"},
                          {"TPM2_GetCommandAuditDigest", "TPM2_ZGen_2Phase", "TPM2_CertifyX509"});
  out.localities = Numbers::one(0);
  out.hierarchies = hierarchies({H::kOwner, H::kEndorsement, H::kNull});
  out.persistent_public = {kAllPersistent};
  out.persistent_parent = {kPersistent};
  out.persistent_salt = {kPersistent};
  out.nv_public = {kNv};
  out.nv_read = {kNv};
  out.nv_authorize = {kNv};
  out.pcr_read = {kPcrs};
  return out;
}

Profile make_storage() {
  Profile out = make_safe();
  out.name = "storage";
  out.commands = (out.commands - commands({"attest", "credential"})) | commands({"nv-write"}, {"TPM2_NV_ChangeAuth"});
  out.hierarchies = hierarchies({H::kOwner, H::kNull});
  out.nv_write = {kFreeNv};
  return out;
}

Profile make_attest() {
  Profile out = make_safe();
  out.name = "attest";
  out.commands = out.commands | commands({"attest", "shared-counter", "TPM2_ZGen_2Phase"});
  out.persistent_use = {kEndorsementKeys};
  return out;
}

Profile make_provision() {
  Profile out = make_safe();
  out.name = "provision";
  out.commands = out.commands | commands({"nv-write", "nv-lock", "nv-define", "evict", "TPM2_HierarchyChangeAuth",
                                          "TPM2_SetPrimaryPolicy"},
                                         {"TPM2_NV_GlobalWriteLock", "TPM2_NV_UndefineSpaceSpecial"});
  out.persistent_use = {kPersistent};
  out.persistent_evict = {kPersistent};
  out.nv_write = out.nv_lock = out.nv_define = Numbers{kFreeNv};
  out.nv_by_owner = {kNv};
  out.nv_pin = {kNv};
  return out;
}

Profile make_admin() {
  Profile out;
  out.name = "admin";
  for (const auto& one : kSets) out.*one.set = Numbers::all();
  out.administer = true;
  return out;
}

}  // namespace

const Profile& safe() {
  static const Profile profile = make_safe();
  return profile;
}
const Profile& storage() {
  static const Profile profile = make_storage();
  return profile;
}
const Profile& attest() {
  static const Profile profile = make_attest();
  return profile;
}
const Profile& provision() {
  static const Profile profile = make_provision();
  return profile;
}
const Profile& admin() {
  static const Profile profile = make_admin();
  return profile;
}

std::span<const Profile* const> shipped_profiles() {
  static const std::array<const Profile*, 5> all = {&safe(), &storage(), &attest(), &provision(), &admin()};
  return all;
}

const Profile* shipped_profile(std::string_view name) {
  for (const Profile* one : shipped_profiles())
    if (one->name == name) return one;
  return nullptr;
}

bool exceeds_safe(const Profile& profile) {
  return profile.administer || std::any_of(kSets.begin(), kSets.end(), [&](const auto& one) {
           return !(profile.*one.set - safe().*one.set).empty();
         });
}

}  // namespace tpmspace::guard
