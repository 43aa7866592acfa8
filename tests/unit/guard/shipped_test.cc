// The shipped profiles: every command of the table with each profile, and the permissions that must never be in `safe`.
#include "guard/shipped.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "profiles_page.h"
#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

using P = wire::PermissionClass;
namespace cc = wire::cc;

TEST(ProfilesPage, AgreesWithTheProfiles) {
  const std::string path = std::string(TPMSPACE_DOCS) + "/profiles.md";
  if (std::getenv("TPMSPACE_WRITE_DOCS") != nullptr) std::ofstream(path) << profiles_page();
  std::ifstream file(path);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(page, profiles_page()) << "CONTRIBUTING.md says how to write it anew";
}

TEST(ProfilesPage, ExplainsEveryClass) {
  std::vector<std::string_view> wanted;
  for (int i = 0; i <= static_cast<int>(wire::PermissionClass::kVendor); ++i)
    wanted.push_back(wire::name_of(static_cast<wire::PermissionClass>(i)));
  EXPECT_EQ(classes_of_profiles_page(), wanted);
}

TEST(Shipped, AreFoundByName) {
  for (const Profile* profile : shipped_profiles()) EXPECT_EQ(shipped_profile(profile->name), profile);
  EXPECT_EQ(shipped_profile("root"), nullptr);
}

// Class by class, so that a row which is added to the table lands where its class is.
TEST(Shipped, SafeHasTheseClassesAndNoOther) {
  const std::set<P> whole = {P::kReadPublic, P::kRandom,   P::kPcrRead, P::kSessions,  P::kContext,
                             P::kCreateKeys, P::kLoadKeys, P::kNvRead,  P::kCredential};
  const std::set<wire::CommandCode> not_of_use_keys = {cc::kZGen2Phase},
                                    not_of_attest = {cc::kGetCommandAuditDigest, cc::kCertifyX509};
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    const bool expected =
        whole.contains(row.permission) || (row.permission == P::kUseKeys && !not_of_use_keys.contains(row.code)) ||
        (row.permission == P::kAttest && !not_of_attest.contains(row.code)) || row.code == cc::kEventSequenceComplete;
    EXPECT_EQ(safe().commands.contains(row.code), expected) << row.name;
  }
}

TEST(Shipped, SafeLacksPermissionsUnfitForADefault) {
  const wire::CommandCode lacking[] = {
      // NV definition, writing, locks
      cc::kNVDefineSpace, cc::kNVDefineSpace2, cc::kNVUndefineSpace, cc::kNVUndefineSpaceSpecial, cc::kNVWrite,
      cc::kNVIncrement, cc::kNVExtend, cc::kNVSetBits, cc::kNVReadLock, cc::kNVWriteLock, cc::kNVGlobalWriteLock,
      cc::kNVChangeAuth,
      // persistent objects, PCRs, migration
      cc::kEvictControl, cc::kPCRExtend, cc::kPCREvent, cc::kPCRReset, cc::kPCRAllocate, cc::kPCRSetAuthPolicy,
      cc::kPCRSetAuthValue, cc::kDuplicate, cc::kImport, cc::kRewrap, cc::kACSend,
      // hierarchies, lockout
      cc::kHierarchyControl, cc::kHierarchyChangeAuth, cc::kSetPrimaryPolicy, cc::kClear, cc::kClearControl,
      cc::kChangeEPS, cc::kChangePPS, cc::kDictionaryAttackLockReset, cc::kDictionaryAttackParameters,
      // things that all clients share
      cc::kCommit, cc::kECEphemeral, cc::kZGen2Phase, cc::kGetCommandAuditDigest, cc::kCertifyX509,
      cc::kSetCommandCodeAuditStatus, cc::kClockSet, cc::kClockRateAdjust,
      // power, firmware
      cc::kStartup, cc::kShutdown, cc::kFieldUpgradeStart, cc::kFieldUpgradeData, cc::kFirmwareRead,
      // vendor commands, and a code newer than the table
      0x20000001, 0x1FF, 0};
  for (const auto code : lacking) EXPECT_FALSE(safe().commands.contains(code)) << std::hex << code;
}

TEST(Shipped, OnlyTheAdministratorHasThese) {
  for (const Profile* profile : shipped_profiles()) {
    const bool administrator = profile == &admin();
    EXPECT_EQ(profile->hierarchies.contains(wire::kLockoutHandle), administrator) << profile->name;
    EXPECT_EQ(profile->hierarchies.contains(static_cast<std::uint32_t>(wire::Hierarchy::kPlatform)), administrator)
        << profile->name;
    EXPECT_EQ(profile->commands.contains(0x20000001), administrator) << profile->name;
    EXPECT_EQ(!profile->pcr_extend.empty() || !profile->pcr_reset.empty(), administrator) << profile->name;
    EXPECT_EQ(profile->localities.contains(1), administrator) << profile->name;
    for (const auto permission : {P::kPlatform, P::kLockout, P::kPower, P::kFirmware, P::kAudit, P::kMigrate})
      EXPECT_EQ((profile->commands & *commands_named(wire::name_of(permission))).empty(), !administrator)
          << profile->name << ", " << wire::name_of(permission);
  }
}

TEST(Shipped, AdminIsNotStoppedByAnything) {
  for (const auto& one : kSets) EXPECT_EQ(admin().*one.set, Numbers::all()) << one.name;
  EXPECT_TRUE(admin().disabled.empty());
}

TEST(Shipped, ProvisionAndAttestHaveAllThatSafeHas) {
  for (const Profile* more : {&attest(), &provision(), &admin()})
    for (const auto& one : kSets)
      EXPECT_EQ(safe().*one.set & more->*one.set, safe().*one.set) << more->name << ", " << one.name;
}

TEST(Shipped, OnlyProvisionAndAdminMayTryPins) {
  for (const Profile* profile : shipped_profiles()) {
    const bool may = profile == &provision() || profile == &admin();
    EXPECT_EQ(profile->nv_pin.contains({0x01000000, 0x01FFFFFF}), may) << profile->name;
    EXPECT_EQ(profile->nv_pin.empty(), !may) << profile->name;
  }
}

TEST(Shipped, NothingIsListedToNoPurpose) {
  for (const Profile* profile : shipped_profiles()) {
    EXPECT_EQ(profile->nv_write.empty(), !profile->commands.contains(cc::kNVWrite)) << profile->name;
    EXPECT_EQ(profile->nv_lock.empty(), !profile->commands.contains(cc::kNVWriteLock)) << profile->name;
    EXPECT_EQ(profile->nv_define.empty(), !profile->commands.contains(cc::kNVDefineSpace)) << profile->name;
    EXPECT_EQ(profile->persistent_evict.empty(), !profile->commands.contains(cc::kEvictControl)) << profile->name;
  }
}

}  // namespace
}  // namespace tpmspace::guard
