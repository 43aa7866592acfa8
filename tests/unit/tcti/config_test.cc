// The configuration string, row by row.
#include "tcti/config.h"

#include <gtest/gtest.h>

#include "../client/temp_dir.h"
#include "tcti/library_name.h"

namespace tpmspace::tcti {
namespace {

struct Row {
  const char* text;
  const char* path;  // null: refused
  int locality;      // -1: none
};

class ConfigTable : public testing::TestWithParam<Row> {};

TEST_P(ConfigTable, IsReadAsWritten) {
  const testing_support::Variable socket("TPMSPACE_SOCKET", "/default");
  const Row& row = GetParam();
  const auto config = parse_config(row.text);
  ASSERT_EQ(config.has_value(), row.path != nullptr) << row.text << (config ? "" : config.error());
  if (!config) return;
  EXPECT_EQ(config->path, row.path);
  EXPECT_EQ(config->locality ? *config->locality : -1, row.locality);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, ConfigTable,
    testing::Values(Row{"", "/default", -1}, Row{"/a/b", "/a/b", -1}, Row{"/a,locality=1", "/a,locality=1", -1},
                    Row{"path=/a", "/a", -1}, Row{"path=relative", "relative", -1}, Row{"locality=3", "/default", 3},
                    Row{"path=/a,locality=0", "/a", 0}, Row{"locality=255,path=/a=b", "/a=b", 255},
                    Row{"path=", nullptr, 0}, Row{"path", nullptr, 0}, Row{"path=/a,path=/b", nullptr, 0},
                    Row{"locality=1,locality=1", nullptr, 0}, Row{"locality=", nullptr, 0},
                    Row{"locality=256", nullptr, 0}, Row{"locality=-1", nullptr, 0}, Row{"locality=1x", nullptr, 0},
                    Row{"locality= 1", nullptr, 0}, Row{"host=localhost", nullptr, 0}, Row{"Path=/a", nullptr, 0},
                    Row{",", nullptr, 0}, Row{"path=/a,", nullptr, 0}, Row{"path=/a,,locality=1", nullptr, 0},
                    Row{"=", nullptr, 0}, Row{"fd=", nullptr, 0}, Row{"fd=-1", nullptr, 0},
                    Row{"fd=3,fd=4", nullptr, 0}, Row{"fd=3,path=/a", nullptr, 0}, Row{"fd=3x", nullptr, 0},
                    Row{"fd=3", "", -1}, Row{"fd=3,locality=2", "", 2}),
    [](const auto& row) { return "Row" + std::to_string(row.index); });

TEST(ConfigOfAbrmd, TakesTheKeysOfTheOtherLibraryUnderItsNameAlone) {
  const testing_support::Variable socket("TPMSPACE_SOCKET", "/default");
  for (const char* text : {"bus_type=session", "bus_type=system", "bus_name=com.example.Tpm",
                           "bus_type=session,bus_name=com.example.Tpm", "bus_name=a,locality=2"}) {
    EXPECT_FALSE(parse_config(text)) << text;
    const auto config = parse_config(text, KnownKeys::kOursAndAbrmds);
    ASSERT_TRUE(config) << config.error();
    EXPECT_EQ(config->path, "/default");
  }
  for (const char* text : {"bus_type=user", "bus_type=", "bus=x", "host=localhost", "bus_name"})
    EXPECT_FALSE(parse_config(text, KnownKeys::kOursAndAbrmds)) << text;
}

TEST(LibraryName, IsAbrmdsByItsLinkAlone) {
  for (const char* path :
       {"libtss2-tcti-tabrmd.so", "libtss2-tcti-tabrmd.so.0", "/usr/lib/libtss2-tcti-tabrmd.so.0.0.0"})
    EXPECT_TRUE(is_tabrmd_library(path)) << path;
  for (const char* path : {"libtss2-tcti-space.so.0", "/tabrmd/libtss2-tcti-space.so.0", "libtss2-tcti-default.so", "",
                           "libtss2-tcti-tabrmd.so/x", "libtss2-tcti-tabrmd.sox"})
    EXPECT_FALSE(is_tabrmd_library(path)) << path;
}

}  // namespace
}  // namespace tpmspace::tcti
