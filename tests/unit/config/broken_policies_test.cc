// Broken configurations, one a file in broken_policies/: the first line has the error message, after "# ".
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "../../support/test_accounts.h"
#include "config/config.h"

namespace tpmspace::config {
namespace {

std::vector<std::string> files() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(TPMSPACE_BROKEN_POLICIES))
    out.push_back(entry.path().stem().string());
  std::sort(out.begin(), out.end());
  return out;
}

class BrokenPolicy : public testing::TestWithParam<std::string> {};

TEST_P(BrokenPolicy, IsAnsweredWithItsPlaceAndASentence) {
  std::ifstream file(std::string(TPMSPACE_BROKEN_POLICIES) + "/" + GetParam() + ".toml");
  ASSERT_TRUE(file);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  ASSERT_TRUE(text.starts_with("# "));
  const Environment machine{.is_system = true, .exists = [](std::string_view) { return true; }};
  const auto got = parse_settings(text, "f", test_accounts()).and_then([&](const Settings& settings) {
    return settle({}, settings, machine);
  });
  ASSERT_FALSE(got) << "it is not broken";
  EXPECT_EQ(got.error(), text.substr(2, text.find('\n') - 2));
}

INSTANTIATE_TEST_SUITE_P(Files, BrokenPolicy, testing::ValuesIn(files()), [](const auto& one) { return one.param; });

TEST(BrokenPolicies, AreAllThere) {
  EXPECT_GE(files().size(), 45U);
}

}  // namespace
}  // namespace tpmspace::config
