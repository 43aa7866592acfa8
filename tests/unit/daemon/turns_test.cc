// Turns of connections, and the debts of owners for frames that no TPM paces.
#include "daemon/turns.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/limits.h"
#include "daemon/turn_queue.h"

namespace tpmspace::daemon {
namespace {

using std::chrono::microseconds;

constexpr space::OwnerId kFloodOwner{1}, kOtherOwner{2};

class TurnQueueTest : public testing::Test {
 protected:
  // Each waiting connection of the flooder is refused in its turn, and asks again. Returns the turns of that time.
  std::size_t flood_for(microseconds span) {
    std::size_t turns = 0;
    for (const auto end = now_ + span; now_ < end; now_ += microseconds(10)) {
      const auto connection = queue_.next(now_);
      if (!connection) continue;
      ++turns;
      queue_.charge(kFloodOwner, 1, now_);
      queue_.put(kFloodOwner, *connection, now_);
    }
    return turns;
  }

  TurnQueue queue_;
  TurnQueue::Time now_{std::chrono::hours(1)};
};

TEST_F(TurnQueueTest, OwnersTakeTurnsHoweverManyConnectionsWait) {
  for (host::ClientId id = 1; id <= 600; ++id) queue_.put(kFloodOwner, id, now_);
  EXPECT_EQ(queue_.next(now_), 1U);
  queue_.put(kOtherOwner, 1000, now_);
  queue_.put(kOtherOwner, 1001, now_);
  std::vector<host::ClientId> got;
  for (int i = 0; i < 5; ++i) got.push_back(*queue_.next(now_));
  EXPECT_EQ(got, (std::vector<host::ClientId>{2, 1000, 3, 1001, 4}));
}

TEST_F(TurnQueueTest, AnOwnerWhoseFramesCostNoTpmTimeRests) {
  for (host::ClientId id = 1; id <= 800; ++id) queue_.put(kFloodOwner, id, now_);
  const std::size_t turns = flood_for(std::chrono::seconds(1));
  const std::size_t paid_by_time = std::chrono::seconds(1) / limits::kFreeFrame;
  EXPECT_GE(turns, paid_by_time);
  EXPECT_LE(turns, paid_by_time + limits::kFreeFrameBurst + 1);
}

TEST_F(TurnQueueTest, CommandsForTheTpmAreNeverPaced) {
  for (host::ClientId id = 1; id <= 10'000; ++id) queue_.put(kFloodOwner, id, now_);
  for (host::ClientId id = 1; id <= 10'000; ++id) ASSERT_EQ(queue_.next(now_), id);
}

TEST_F(TurnQueueTest, AnotherOwnerDoesNotPay) {
  for (host::ClientId id = 1; id <= 800; ++id) queue_.put(kFloodOwner, id, now_);
  (void)flood_for(std::chrono::milliseconds(100));
  for (host::ClientId id = 1001; id <= 1064; ++id) {
    queue_.put(kOtherOwner, id, now_);
    const auto first = queue_.next(now_);
    ASSERT_TRUE(first == id || queue_.next(now_) == id) << "at most one turn of the flooder comes first";
    queue_.charge(kOtherOwner, 1, now_);
  }
}

TEST_F(TurnQueueTest, ManyOwnersInDebtShareTheTimeOfOne) {
  constexpr std::uint32_t kOwners = 16;
  for (std::uint32_t owner = 1; owner <= kOwners; ++owner)
    for (host::ClientId id = 1; id <= 10; ++id) queue_.put({owner}, owner * 100 + id, now_);
  std::size_t turns = 0;
  for (const auto end = now_ + std::chrono::seconds(2); now_ < end; now_ += microseconds(10)) {
    const auto connection = queue_.next(now_);
    if (!connection) continue;
    const space::OwnerId owner{static_cast<std::uint32_t>(*connection / 100)};
    ++turns;
    queue_.charge(owner, 1, now_);
    queue_.put(owner, *connection, now_);
  }
  EXPECT_LE(turns, std::chrono::seconds(2) / limits::kFreeFrame + kOwners * (limits::kFreeFrameBurst + 1));
}

TEST_F(TurnQueueTest, ADebtEndsAndTheWaitingConnectionGetsItsTurn) {
  queue_.charge(kFloodOwner, 1'000'000, now_);
  queue_.put(kFloodOwner, 7, now_);
  EXPECT_FALSE(queue_.is_ready());
  EXPECT_EQ(queue_.next(now_), std::nullopt);
  const auto wake = queue_.wake();
  ASSERT_TRUE(wake);
  EXPECT_LE(*wake - now_, limits::kFreeFrame * limits::kFreeFrameBurst) << "a debt is bounded";
  EXPECT_EQ(queue_.next(*wake - microseconds(1)), std::nullopt);
  EXPECT_EQ(queue_.next(*wake), 7U);
  EXPECT_EQ(queue_.wake(), std::nullopt);
}

// Frames beyond the burst, by a loop and its timer: each is answered in the end.
TEST(Turns, ARestEndsByItself) {
  constexpr int kFrames = 2 * limits::kFreeFrameBurst;
  loop::EventLoop loop;
  int taken = 0;
  Turns* all = nullptr;
  Turns turns(loop, [&](host::ClientId connection) {
    all->charge(kFloodOwner, 1);
    if (++taken == kFrames)
      loop.stop(0);
    else
      all->put(kFloodOwner, connection);
    return true;
  });
  all = &turns;
  turns.put(kFloodOwner, 1);
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(taken, kFrames);
}

TEST(Turns, ConnectionsThatHaveEndedUseNoTurn) {
  loop::EventLoop loop;
  std::vector<host::ClientId> taken;
  Turns turns(loop, [&](host::ClientId connection) {
    if (connection <= 200) return false;
    taken.push_back(connection);
    if (connection == 1000) loop.stop(0);
    return true;
  });
  for (host::ClientId id = 1; id <= 200; ++id) turns.put(kFloodOwner, id);
  turns.put(kOtherOwner, 1000);
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(taken, (std::vector<host::ClientId>{1000}));
}

}  // namespace
}  // namespace tpmspace::daemon
