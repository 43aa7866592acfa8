#include "wire/command_table.h"

#include <gtest/gtest.h>

#include <set>

namespace tpmspace::wire {
namespace {

TEST(CommandTable, RowsAreOrderedAndNamedOnce) {
  std::set<std::string_view> names;
  CommandCode last = 0;
  for (const auto& row : CommandTable::builtin().rows()) {
    EXPECT_GT(row.code, last) << row.name;
    last = row.code;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.name.starts_with("TPM2_")) << row.name;
    EXPECT_FALSE(row.section.empty()) << row.name;
  }
}

TEST(CommandTable, EveryCommandCodeHasARow) {
  std::size_t codes = 0;
#define TPMSPACE_CC(name, code)                                              \
  EXPECT_NE(CommandTable::builtin().find(code), nullptr) << #name " " #code; \
  ++codes;
#include "wire/command_codes.inc"
#undef TPMSPACE_CC
  EXPECT_EQ(CommandTable::builtin().rows().size(), codes);
}

TEST(CommandTable, NumbersOfARowAreConsistent) {
  for (const auto& row : CommandTable::builtin().rows()) {
    EXPECT_LE(row.handles, kMaxHandles) << row.name;
    EXPECT_LE(row.auth_handles, row.handles) << row.name;
    EXPECT_LT(row.flushes_handle, static_cast<int>(row.handles)) << row.name;
    EXPECT_LE(row.scratch_slots, 2) << row.name;
    EXPECT_NE(row.permission, PermissionClass::kVendor) << row.name;
    if (!row.sessions_allowed) {
      EXPECT_EQ(row.auth_handles, 0) << row.name;
    }
  }
}

CommandAttributes attributes(std::uint32_t raw) {
  return CommandAttributes{raw};
}

TEST(CommandTable, ARowHasTheUseOfEachHandle) {
  for (const auto& row : CommandTable::builtin().rows())
    for (std::size_t i = 0; i < kMaxHandles; ++i)
      EXPECT_EQ(row.uses.at(i) == HandleUse::kUnknown, i >= row.handles) << row.name << ", handle " << i + 1;
}

TEST(CommandTable, TheAuthorityOfAnNvIndexStandsBeforeIt) {
  for (const auto& row : CommandTable::builtin().rows())
    for (std::size_t i = 0; i < row.handles; ++i)
      if (row.uses.at(i) == HandleUse::kNvAuthority) {
        ASSERT_LT(i + 1, row.handles) << row.name;
        const auto next = row.uses.at(i + 1);
        EXPECT_TRUE(next == HandleUse::kNvRead || next == HandleUse::kNvWrite || next == HandleUse::kNvLock)
            << row.name;
      }
}

TEST(CommandTable, AnAuthorityIsAuthorized) {
  for (const auto& row : CommandTable::builtin().rows())
    for (std::size_t i = 0; i < row.handles; ++i) switch (row.uses.at(i)) {
        case HandleUse::kAuthority:  // except for a session's bound entity: its value enters the session's key
        case HandleUse::kNvAuthority:
        case HandleUse::kNvLockAll:
        case HandleUse::kPcrExtend:
        case HandleUse::kPcrReset:
          EXPECT_TRUE(i < row.auth_handles || row.code == cc::kStartAuthSession) << row.name;
          break;
        default:
          break;
      }
}

TEST(CommandTable, AHandlesUseIsUnknownWhereTheChipCountsOtherwise) {
  CommandTable table = CommandTable::builtin();
  const CommandAttributes chip[] = {CommandAttributes{cc::kUnseal | 2U << 25}};  // with two handles
  EXPECT_EQ(table.adopt(chip).size(), 1U);
  EXPECT_EQ(table.find(cc::kUnseal)->uses.at(0), HandleUse::kUnknown);
}

TEST(CommandTable, AdoptingDropsCommandsThatTheChipLacks) {
  CommandTable table = CommandTable::builtin();
  const CommandAttributes chip[] = {attributes(0x0000017B)};  // GetRandom alone
  EXPECT_TRUE(table.adopt(chip).empty());
  EXPECT_EQ(table.rows().size(), 1U);
  EXPECT_NE(table.find(cc::kGetRandom), nullptr);
  EXPECT_EQ(table.find(cc::kSign), nullptr);
}

TEST(CommandTable, AdoptingTakesVendorCommandsFromTheChip) {
  CommandTable table = CommandTable::builtin();
  const std::uint32_t vendor = 0x20000000U | 0x0001U | (2U << 25) | (1U << 28);
  const CommandAttributes chip[] = {attributes(vendor)};
  EXPECT_EQ(table.adopt(chip).size(), 1U);
  const CommandRow* row = table.find(0x20000001);
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->handles, 2);
  EXPECT_TRUE(row->has_response_handle());
  EXPECT_EQ(row->permission, PermissionClass::kVendor);
}

TEST(CommandTable, AdoptingReportsAndTakesADifferentHandleCount) {
  CommandTable table = CommandTable::builtin();
  const CommandAttributes chip[] = {attributes(cc::kSign | (2U << 25))};
  const auto differences = table.adopt(chip);
  ASSERT_EQ(differences.size(), 1U);
  EXPECT_NE(differences[0].find("TPM2_Sign"), std::string::npos);
  EXPECT_EQ(table.find(cc::kSign)->handles, 2);
}

// Found by fuzz_command.
TEST(CommandTable, AdoptingFewerHandlesTakesBackTheOneThatIsFlushed) {
  CommandTable table = CommandTable::builtin();
  const std::uint32_t flushed = 1U << 24;
  const CommandAttributes chip[] = {attributes(cc::kSequenceComplete | flushed),
                                    attributes(cc::kEventSequenceComplete | flushed | (1U << 25))};
  EXPECT_EQ(table.adopt(chip).size(), 2U);
  EXPECT_EQ(table.find(cc::kSequenceComplete)->handles, 0);
  EXPECT_EQ(table.find(cc::kSequenceComplete)->flushes_handle, -1);
  EXPECT_EQ(table.find(cc::kEventSequenceComplete)->handles, 1);
  EXPECT_EQ(table.find(cc::kEventSequenceComplete)->flushes_handle, 0);
}

TEST(CommandTable, AdoptingTwiceTheSameCommandKeepsOne) {
  CommandTable table = CommandTable::builtin();
  const CommandAttributes chip[] = {attributes(cc::kGetRandom), attributes(cc::kGetRandom)};
  (void)table.adopt(chip);
  EXPECT_EQ(table.rows().size(), 1U);
}

}  // namespace
}  // namespace tpmspace::wire
