// The rule by which owners share a room, as tables.
#include "books/shared_room.h"

#include <gtest/gtest.h>

#include <vector>

namespace tpmspace::space {
namespace {

constexpr Payer kAdministrators{{}, true};
Payer owner(std::uint64_t number) {
  return Payer::of({number}, false);
}

std::uint64_t fill(SharedRoom& room, const Payer& payer) {
  std::uint64_t taken = 0;
  for (; room.admits(payer); ++taken) room.take(payer);
  return taken;
}

TEST(ShareRule, HasItsPartsForEverySize) {
  struct Row {
    std::uint64_t size, least, for_administrators, minimum, owners, common;
  };
  constexpr std::uint64_t kMiB = 1 << 20, kKiB = 1 << 10;
  const std::vector<Row> rows = {
      {64 * kMiB, 8 * kKiB, 4 * kMiB, 128 * kKiB, 256, 28 * kMiB},
      {10'000, 1, 625, 19, 256, 10'000 - 625 - 19 * 256},
      {52 * kKiB, 8 * kKiB, 8 * kKiB, 8 * kKiB, 3, 20 * kKiB},
      {10, 1, 1, 1, 5, 4},
      {2, 1, 0, 1, 1, 1},
      {1, 1, 0, 1, 1, 0},
      {0, 1, 0, 1, 0, 0},
  };
  for (const Row& row : rows) {
    const ShareRule rule = ShareRule::of(row.size, row.least);
    EXPECT_EQ(rule.for_administrators, row.for_administrators) << row.size;
    EXPECT_EQ(rule.minimum, row.minimum) << row.size;
    EXPECT_EQ(rule.owners, row.owners) << row.size;
    EXPECT_EQ(rule.common(), row.common) << row.size;
  }
}

// Ten for administrators, three minimums of ten, sixty in common.
TEST(SharedRoom, AdmitsByTheRule) {
  const ShareRule rule{.size = 100, .for_administrators = 10, .minimum = 10, .owners = 3};
  struct Row {
    const char* what;
    std::vector<std::pair<Payer, std::uint64_t>> held;
    Payer payer;
    std::uint64_t gets;
  };
  const std::vector<Row> rows = {
      {"one alone: its minimum and half of what is common", {}, owner(1), 40},
      {"an owner's own counts", {{owner(1), 39}}, owner(1), 1},
      {"the next: its minimum and a quarter", {{owner(1), 40}}, owner(2), 25},
      {"all that is common is taken: the minimum is there", {{owner(1), 70}}, owner(2), 10},
      {"for three owners", {{owner(1), 70}, {owner(2), 10}}, owner(3), 10},
      {"and not for a fourth", {{owner(1), 70}, {owner(2), 10}, {owner(3), 10}}, owner(4), 0},
      {"which finds some in common", {{owner(1), 40}, {owner(2), 10}, {owner(3), 10}}, owner(4), 20},
      {"administrators have their part", {{owner(1), 70}, {owner(2), 10}, {owner(3), 10}}, kAdministrators, 10},
      {"and share what is common as one owner", {}, kAdministrators, 40},
      {"they take no minimum", {{kAdministrators, 70}}, owner(1), 10},
      {"more than ever: a limit that was lowered", {{owner(1), 500}}, owner(1), 0},
      {"and the next finds its minimum", {{owner(1), 500}}, owner(2), 10},
  };
  for (const Row& row : rows) {
    SharedRoom room(rule);
    for (const auto& [payer, amount] : row.held) room.take(payer, amount);
    EXPECT_EQ(fill(room, row.payer), row.gets) << row.what;
  }
}

TEST(SharedRoom, ARequestFitsOrIsRefused) {
  SharedRoom room(ShareRule{.size = 100, .for_administrators = 10, .minimum = 10, .owners = 3});
  EXPECT_TRUE(room.admits(owner(1), 10));
  EXPECT_TRUE(room.admits(owner(1), 70));
  EXPECT_FALSE(room.admits(owner(1), 71));
  EXPECT_FALSE(room.admits(owner(1), UINT64_MAX)) << "no overflow";
}

TEST(SharedRoom, NoNumberOfOwnersThatFillTheirSharesKeepsOutTheNextOrAnAdministrator) {
  const ShareRule rule = ShareRule::of(10'000, 1);
  SharedRoom room(rule);
  std::uint64_t most = 0;
  for (std::uint64_t one = 1; one <= rule.owners; ++one) {
    const std::uint64_t got = fill(room, owner(one));
    EXPECT_GE(got, rule.minimum) << one;
    most = std::max(most, got);
  }
  EXPECT_EQ(most, rule.most_of_one());
  EXPECT_GE(fill(room, kAdministrators), rule.for_administrators);
  EXPECT_LE(room.taken(), rule.size);
}

TEST(SharedRoom, ReturnedRoomIsThereForOthers) {
  SharedRoom room(ShareRule{.size = 100, .for_administrators = 10, .minimum = 10, .owners = 3});
  EXPECT_EQ(fill(room, owner(1)), 40U);
  EXPECT_EQ(fill(room, owner(2)), 25U);
  EXPECT_EQ(room.largest(), owner(1));
  room.give_back(owner(1), 40);
  EXPECT_EQ(room.largest(), owner(2));
  EXPECT_TRUE(room.admits(owner(2))) << "the other's share was in the way";
  room.give_back(owner(2), 25);
  EXPECT_EQ(room.taken(), 0U);
  EXPECT_EQ(room.largest(), std::nullopt);
}

TEST(SharedRoom, ByAnotherRuleItHoldsTheSame) {
  SharedRoom room(ShareRule{});
  room.take(owner(1), 40);
  room.take(kAdministrators, 5);
  const SharedRoom stricter = room.by(ShareRule::of(50, 1));
  EXPECT_EQ(stricter, room);
  EXPECT_EQ(stricter.taken(), 45U);
  EXPECT_FALSE(stricter.admits(owner(1)));
  EXPECT_TRUE(stricter.admits(owner(2)));
}

}  // namespace
}  // namespace tpmspace::space
