#include "queue/fair_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace tpmspace::queue {
namespace {

TEST(FairQueue, OneOwnerIsServedInOrder) {
  FairQueue queue;
  for (FairQueue::Item item = 1; item <= 3; ++item) queue.push(7, item);
  for (FairQueue::Item item = 1; item <= 3; ++item) EXPECT_EQ(queue.pop()->item, item);
  EXPECT_FALSE(queue.pop());
}

TEST(FairQueue, AHundredConnectionsOfOneOwnerDoNotDelayAnother) {
  FairQueue queue;
  for (FairQueue::Item item = 1; item <= 100; ++item) queue.push(1, item);
  queue.push(2, 1000);
  queue.charge(queue.pop()->owner, 1'000'000);
  EXPECT_EQ(queue.pop()->item, 1000U) << "owner 1 had its turn";
}

TEST(FairQueue, TurnsFollowTpmTimeNotCommandCount) {
  FairQueue queue;
  std::map<FairQueue::Owner, int> turns;
  for (FairQueue::Item item = 0; item < 1000; ++item) {
    queue.push(1, item);
    queue.push(2, 1000 + item);
  }
  for (int i = 0; i < 110; ++i) {
    const auto turn = queue.pop();
    ++turns[turn->owner];
    queue.charge(turn->owner, turn->owner == 1 ? 1000 : 100);
  }
  EXPECT_NEAR(turns[1], 10, 2);
  EXPECT_NEAR(turns[2], 100, 2);
}

TEST(FairQueue, IdlingSavesUpNoCredit) {
  FairQueue queue;
  for (FairQueue::Item item = 0; item < 100; ++item) {
    queue.push(1, item);
    queue.charge(queue.pop()->owner, 1'000'000);
  }
  for (FairQueue::Item item = 0; item < 10; ++item) {
    queue.push(1, 100 + item);
    queue.push(2, 200 + item);
  }
  int of_owner_one = 0;
  for (int i = 0; i < 10; ++i) {
    const auto turn = queue.pop();
    of_owner_one += turn->owner == 1 ? 1 : 0;
    queue.charge(turn->owner, 1'000'000);
  }
  EXPECT_GE(of_owner_one, 4) << "owner 2 came late and must not catch up on what it did not ask for";
}

TEST(FairQueue, TakesBackCancelledItems) {
  FairQueue queue;
  queue.push(1, 10);
  queue.push(1, 11);
  EXPECT_TRUE(queue.remove(1, 10));
  EXPECT_FALSE(queue.remove(1, 10));
  EXPECT_FALSE(queue.remove(2, 11));
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(queue.pop()->item, 11U);
}

TEST(FairQueue, PriorityGoesFirstAndStarvesNoOther) {
  FairQueue queue;
  for (std::uint64_t i = 0; i < 100; ++i) queue.push(1, i, 9);
  for (std::uint64_t i = 0; i < 3; ++i) queue.push(2, 1000 + i, 1);
  std::vector<std::uint64_t> order;
  while (const auto turn = queue.pop()) {
    order.push_back(turn->item);
    queue.charge(turn->owner, 1000);
  }
  ASSERT_EQ(order.size(), 103U);
  EXPECT_EQ(order.front(), 0U);
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < order.size(); ++i)
    if (order[i] >= 1000) places.push_back(i);
  EXPECT_LE(places.at(0), FairQueue::kPassing + 1);
  EXPECT_LE(places.at(2), 3 * (FairQueue::kPassing + 2));
}

TEST(FairQueue, AnItemPushedToTheFrontPassesOnlyItsOwners) {
  FairQueue queue;
  queue.push(1, 10);
  queue.push(2, 20);
  queue.push_first(1, 11);
  queue.push_first(1, 12);
  EXPECT_EQ(queue.pop()->item, 12U);
  EXPECT_EQ(queue.pop()->item, 20U) << "owner 1 had its turn";
  EXPECT_EQ(queue.pop()->item, 11U);
  EXPECT_EQ(queue.pop()->item, 10U);
}

TEST(FairQueue, ATurnOrACancellationCostsTheSameHoweverManyWait) {
  const auto owners_looked_at = [](std::uint64_t owners, std::uint64_t items_of_each) {
    FairQueue queue;
    FairQueue::Item item = 0;
    for (std::uint64_t i = 0; i < items_of_each; ++i)
      for (std::uint64_t owner = 1; owner <= owners; ++owner) queue.push(owner, ++item);
    const auto before = queue.looked_at();
    for (int i = 0; i < 100; ++i) {
      queue.charge(queue.pop()->owner, 1000);
      EXPECT_TRUE(queue.remove(1, (items_of_each - 1 - static_cast<std::uint64_t>(i)) * owners + 1));
    }
    return queue.looked_at() - before;
  };
  EXPECT_EQ(owners_looked_at(2, 200), owners_looked_at(500, 200));
  EXPECT_EQ(owners_looked_at(2, 200), owners_looked_at(2, 5000));
}

TEST(FairQueue, EveryItemComesOutOnce) {
  FairQueue queue;
  std::mt19937_64 random(5);  // NOLINT: every run draws the same
  std::map<FairQueue::Item, int> seen;
  FairQueue::Item next = 1;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0) {
      queue.push(random() % 5, next++);
    } else if (const auto turn = queue.pop()) {
      ++seen[turn->item];
      queue.charge(turn->owner, random() % 1000);
    }
  }
  while (const auto turn = queue.pop()) ++seen[turn->item];
  EXPECT_EQ(seen.size(), next - 1);
  for (const auto& [item, times] : seen) EXPECT_EQ(times, 1) << item;
}

}  // namespace
}  // namespace tpmspace::queue
