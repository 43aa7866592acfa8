// The configuration string, row by row.
#include "tcti/config.h"

#include <gtest/gtest.h>

#include "../client/temp_dir.h"

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

}  // namespace
}  // namespace tpmspace::tcti
