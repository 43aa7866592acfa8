#include "guard/profile.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "guard/shipped.h"
#include "guard/verdict.h"
#include "profiles.h"

namespace tpmspace::guard {
namespace {

namespace cc = wire::cc;

TEST(Profile, CommandsAreNamedByClassNameOrCode) {
  EXPECT_EQ(commands_named("pcr-read"), Numbers::one(cc::kPCRRead));
  for (const auto name : {"TPM2_NV_Read", "NV_Read", "tpm2_nv_read", "tpm2_nvread"})
    EXPECT_EQ(commands_named(name), Numbers::one(cc::kNVRead)) << name;
  EXPECT_EQ(commands_named("0x2000010a"), Numbers::one(0x2000010A));
  EXPECT_EQ(commands_named("all"), Numbers::all());
  for (const auto word : {"", "0x", "0xg", "0x123456789", "nonsense"})
    EXPECT_EQ(commands_named(word), std::nullopt) << word;
}

TEST(Profile, EveryCommandIsInItsClassAlone) {
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    EXPECT_EQ(commands_named(row.name), Numbers::one(row.code)) << row.name;
    for (int i = 0; i <= static_cast<int>(wire::PermissionClass::kVendor); ++i) {
      const auto permission = static_cast<wire::PermissionClass>(i);
      EXPECT_EQ(commands_named(wire::name_of(permission))->contains(row.code), row.permission == permission)
          << row.name << ", " << wire::name_of(permission);
    }
  }
}

TEST(Profile, VendorHasTheCommandsThatTheTableLacks) {
  const auto vendor = *commands_named("vendor");
  EXPECT_TRUE(vendor.contains(0x20000001));
  EXPECT_TRUE(vendor.contains(0x1FF)) << "newer than the table";
}

TEST(Profile, DenyWins) {
  const std::string_view allow[] = {"nv-read", "TPM2_Sign"}, deny[] = {"TPM2_Sign", "TPM2_Quote"};
  EXPECT_EQ(commands_named(allow, deny), Numbers::one(cc::kNVRead));
  const std::string_view wrong[] = {"TPM2_Sing"};
  EXPECT_EQ(commands_named(allow, wrong).error(), "TPM2_Sing");
  EXPECT_EQ(commands_named(wrong, deny).error(), "TPM2_Sing");
}

RC_GTEST_PROP(Profile, NarrowedAllowsExactlyWhatBothAllow, ()) {
  const Profile a = any_profile(), b = any_profile(), both = narrow(a, b);
  for (int i = 0; i < 20; ++i) {
    const auto command = any_command();
    const auto locality = *rc::gen::inRange<std::uint8_t>(0, 5);
    const bool by_a = judge(a, command, locality).allowed(), by_b = judge(b, command, locality).allowed();
    RC_ASSERT(judge(both, command, locality).allowed() == (by_a && by_b));
  }
  RC_ASSERT(both.limits.objects == std::min(a.limits.objects, b.limits.objects));
  RC_ASSERT(both.terms.claim == std::min(a.terms.claim, b.terms.claim));
}

RC_GTEST_PROP(Profile, NarrowingIsAnIntersection, ()) {
  const Profile a = any_profile(), b = any_profile(), c = any_profile();
  RC_ASSERT(narrow(a, a) == a);
  RC_ASSERT(narrow(a, b) == narrow(b, a));
  RC_ASSERT(narrow(narrow(a, b), c) == narrow(a, narrow(b, c)));
}

TEST(Profile, NarrowedTakesTheLesserOfEveryTermAndLimit) {
  Profile a, b;
  a.name = "a";
  b.name = "b";
  a.terms = {.claim = 1, .lease = 9, .tenure = 2, .deadline = 8, .exhaustion = Exhaustion::kReclaim};
  b.terms = {.claim = 7, .lease = 3, .tenure = 6, .deadline = 4, .exhaustion = Exhaustion::kWait};
  a.limits = {.connections = kUnlimited, .objects = 2, .sessions = 9, .bytes = 4, .share = 9, .priority = 1};
  b.limits = {.connections = 10, .objects = 8, .sessions = 3, .bytes = 6, .share = 5, .priority = 2};
  const Profile both = narrow(a, b);
  EXPECT_EQ(both.terms,
            (SessionTerms{.claim = 1, .lease = 3, .tenure = 2, .deadline = 4, .exhaustion = Exhaustion::kWait}));
  EXPECT_EQ(both.limits,
            (Limits{.connections = 10, .objects = 2, .sessions = 3, .bytes = 4, .share = 5, .priority = 1}));
  EXPECT_EQ(both.name, "a & b");
}

}  // namespace
}  // namespace tpmspace::guard
