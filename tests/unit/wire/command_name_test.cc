// Commands by name: every way in which people write them.
#include "wire/command_name.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace tpmspace::wire {
namespace {

const CommandTable& table() {
  return CommandTable::builtin();
}

TEST(CommandName, IsAcceptedInAnyCaseWithAndWithoutThePrefix) {
  for (const char* name : {"TPM2_NV_Read", "NV_Read", "tpm2_nv_read", "tpm2_nvread", "nvread", "Tpm2_NvRead"}) {
    const CommandRow* row = command_named(name, table());
    ASSERT_NE(row, nullptr) << name;
    EXPECT_EQ(row->code, cc::kNVRead) << name;
  }
  EXPECT_EQ(command_named("tpm2_quote", table())->code, cc::kQuote);
  EXPECT_EQ(command_named("QUOTE", table())->code, cc::kQuote);
}

TEST(CommandName, OfNoCommandIsNone) {
  for (const char* name : {"", "TPM2_", "_", "nv-read", "quote ", "tpm_quote", "tpm2_getcap"})
    EXPECT_EQ(command_named(name, table()), nullptr) << name;
}

TEST(CommandName, IsOneCommandsAlone) {
  std::map<std::string, std::string> seen;
  for (const CommandRow& row : table().rows()) {
    const auto [other, is_new] = seen.emplace(comparable_name(row.name), row.name);
    EXPECT_TRUE(is_new) << row.name << " and " << other->second;
    EXPECT_EQ(command_named(row.name, table()), &row);
  }
  for (const CommandRow& row : table().rows())
    EXPECT_FALSE(seen.contains(comparable_name(name_of(row.permission)))) << name_of(row.permission);
}

}  // namespace
}  // namespace tpmspace::wire
