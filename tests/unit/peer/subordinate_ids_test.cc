// Whose a uid is that was lent for user namespaces.
#include "peer/subordinate_ids.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

namespace tpmspace::peer {
namespace {

struct Loans {
  const char* text;
  std::uint32_t uid, holder;
};
class SubordinateIdsTable : public testing::TestWithParam<Loans> {};

TEST_P(SubordinateIdsTable, TheHolder) {
  const auto uid_of_name = [](const std::string& name) -> std::optional<std::uint32_t> {
    if (name == "alice") return 1000;
    if (name == "root") return 0;
    return std::nullopt;
  };
  EXPECT_EQ(SubordinateIds::parse(GetParam().text, uid_of_name).holder_of(GetParam().uid), GetParam().holder);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, SubordinateIdsTable,
    testing::Values(Loans{"", 5, 5}, Loans{"alice:100000:65536\n", 100000, 1000},
                    Loans{"alice:100000:65536", 165535, 1000}, Loans{"alice:100000:65536\n", 165536, 165536},
                    Loans{"# lent\n\nbob:1:2\nalice:100000:1\n", 100000, 1000}, Loans{"1001:200000:10\n", 200009, 1001},
                    // Of a name that cannot be looked up: one owner, not 65,536.
                    Loans{"bob:100000:65536\n", 100007, 100000}, Loans{"bob:100000:65536\n", 165535, 100000},
                    Loans{"bob:100000:65536\nbob:300000:65536\n", 300005, 100000},
                    Loans{"alice:100000:0\n", 100000, 100000}, Loans{"alice:100000:4294967295\n", 100001, 100001},
                    Loans{"alice:0:10\n", 0, 0}, Loans{"alice:1\n", 1, 1}, Loans{"alice:x:10\n", 0, 0},
                    // A uid lent to root is not root.
                    Loans{"root:100000:65536\n", 100000, 100000}, Loans{"alice:10:5\n1001:10:5\n", 12, 1000}));

TEST(SubordinateIds, OfAServiceThatTellsNothingAreOneOwnerABlock) {
  const auto ids = SubordinateIds::of_silent_service();
  EXPECT_EQ(ids.holder_of(0x8001'0000), 0x8001'0000U);
  EXPECT_EQ(ids.holder_of(0x8001'FFFF), 0x8001'0000U);
  EXPECT_EQ(ids.holder_of(0x8002'0000), 0x8002'0000U);
  for (const std::uint32_t uid : {0U, 1000U, 165535U, 0x7FFF'FFFFU, 0xFFFF'FFFFU}) EXPECT_EQ(ids.holder_of(uid), uid);
}

TEST(SubordinateIds, AreLentByAServiceIfNsswitchNamesOne) {
  for (const char* text : {"subid: sss\n", "passwd: files\nsubid:\tsss files", "subid:sss # files\n"})
    EXPECT_TRUE(SubordinateIds::are_lent_by_service(text)) << text;
  for (const char* text : {"", "subid: files\n", "subid:\n", "# subid: sss\n", "passwd: sss\n", "subid: # sss\n"})
    EXPECT_FALSE(SubordinateIds::are_lent_by_service(text)) << text;
}

}  // namespace
}  // namespace tpmspace::peer
