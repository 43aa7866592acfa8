// The next waiter for a session, and the choice of a session to take: by hand-made books, without a TPM.
#include "space/session_queue.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "support.h"

namespace tpmspace::space {
namespace {

class SessionQueueTest : public testing::Test {
 protected:
  explicit SessionQueueTest(std::uint32_t sessions = 8) { chip_.active_sessions = sessions; }

  // A space of that owner that holds so many, used at that time.
  SpaceId space(std::uint64_t owner, std::uint32_t held, std::uint64_t used_at = 0) {
    const SpaceId id = open_space(books_, OwnerId{owner}, {});
    for (std::uint32_t i = 0; i < held; ++i) {
      const auto number = static_cast<std::uint32_t>(books_.sessions.size());
      Session session;
      session.handle = 0x02000000 + number;
      session.owner = OwnerId{owner};
      session.space = id;
      session.last_use = ++books_.tick;
      session.used_at = used_at;
      books_.sessions.emplace(number, std::move(session));
    }
    return id;
  }
  SessionQueue::Id wait(SpaceId space, std::uint64_t since, bool may_take = true) {
    const OwnerId owner = books_.spaces.at(space).owner;
    queue_.add(
        {.id = ++last_, .waiter = {space, owner, since}, .deadline = since + 30 * kSecond, .may_take = may_take});
    return last_;
  }
  [[nodiscard]] auto next(std::uint64_t now) { return queue_.next(books_, chip_, book_, now); }
  [[nodiscard]] Taking taking(std::uint64_t now) { return queue_.taking(books_, chip_, now); }

  Chip chip_;
  Quota quota_;
  Books books_;
  NoTpm tpm_;
  TpmPort port_{tpm_, wire::CommandTable::builtin(), [] { return std::uint64_t{0}; }};
  Recovery recovery_{books_, chip_, port_};
  Residency residency_{books_, chip_, port_, recovery_};
  Parking parking_{books_, chip_, quota_, port_, recovery_, residency_};
  SessionBook book_{books_, chip_, quota_, port_, residency_, parking_};
  SessionQueue queue_;
  SessionQueue::Id last_ = 0;
};

TEST_F(SessionQueueTest, NewcomersOwnersTakeTurns) {
  const auto a = wait(space(1, 0), 1), b = wait(space(1, 0), 2), c = wait(space(2, 0), 3);
  EXPECT_EQ(next(4), a);
  queue_.served(a, 4);
  EXPECT_EQ(next(5), c) << "not the first owner's second connection, though it came earlier";
  queue_.served(c, 5);
  EXPECT_EQ(next(6), b);
}

TEST_F(SessionQueueTest, SpacesThatWillFinishGoBeforeNewcomersAndExcessGoesLast) {
  const auto beyond = wait(space(1, 3), 1), newcomer = wait(space(2, 0), 2), finishing = wait(space(3, 1), 3);
  EXPECT_EQ(next(4), finishing);
  queue_.remove(finishing);
  EXPECT_EQ(next(4), newcomer);
  queue_.remove(newcomer);
  EXPECT_EQ(next(4), beyond);
}

TEST_F(SessionQueueTest, AnAdmissibleWaiterPassesAnInadmissibleOne) {
  (void)space(9, 5);
  // Two are left: a newcomer would leave one for two who need two each.
  const auto holder = space(1, 1);
  const auto newcomer = wait(space(2, 0), 1), finishing = wait(holder, 2);
  EXPECT_EQ(next(3), finishing);
  queue_.remove(finishing);
  EXPECT_EQ(next(3), newcomer) << "the big one can finish first, so this is safe too";
}

TEST_F(SessionQueueTest, AWaiterThatHasWaitedForTheTenureIsNotPassed) {
  const auto hoarder = space(1, 2);
  (void)space(1, 5);
  const auto waits = wait(space(2, 0), 0);
  const auto passes = wait(hoarder, 9 * kSecond);
  EXPECT_EQ(next(9 * kSecond), waits);
  // One is free, and the newcomer may not have it: it needs two more.
  books_.sessions.begin()->second.client_saved = true;
  for (auto& [number, session] : books_.sessions)
    if (session.space != hoarder) session.client_saved = true, session.space = SpaceId{};
  EXPECT_EQ(next(9 * kSecond), passes) << "before the tenure whoever may have it passes";
  EXPECT_EQ(next(10 * kSecond), std::nullopt) << "then nobody who holds more does";
}

TEST_F(SessionQueueTest, ItTakesFromTheOwnerWithTooManyAfterTheTenure) {
  const auto hoarder = space(1, 6, 5 * kSecond);
  const auto modest = space(2, 2, 5 * kSecond);
  (void)wait(space(3, 0), 1 * kSecond);
  EXPECT_EQ(taking(2 * kSecond).number, std::nullopt);
  EXPECT_EQ(taking(2 * kSecond).at, 11 * kSecond);
  const auto taken = taking(11 * kSecond).number;
  ASSERT_TRUE(taken);
  EXPECT_EQ(books_.sessions.at(*taken).space, hoarder);
  EXPECT_EQ(*taken, 0U) << "what was not used longest";
  EXPECT_NE(books_.sessions.at(*taken).space, modest);
}

TEST_F(SessionQueueTest, OneClockForAllConnectionsOfAnOwnerThatStartsAgainWhenOneIsServed) {
  (void)space(1, 8, 100 * kSecond);
  const auto first = wait(space(2, 0), 0);
  (void)wait(space(2, 0), 0);
  EXPECT_EQ(taking(1).at, 10 * kSecond);
  queue_.served(first, 9 * kSecond);
  EXPECT_EQ(taking(15 * kSecond).at, 19 * kSecond);
}

TEST_F(SessionQueueTest, WithoutLeaveToTakeOnlyTheDeadlineCounts) {
  (void)space(1, 8);
  const auto patient = wait(space(2, 0), 0, false);
  EXPECT_EQ(taking(20 * kSecond).number, std::nullopt);
  EXPECT_EQ(taking(20 * kSecond).at, 30 * kSecond);
  EXPECT_EQ(queue_.expired(29 * kSecond), std::nullopt);
  EXPECT_EQ(queue_.expired(30 * kSecond), patient);
}

TEST_F(SessionQueueTest, AnOutsideAuthoritysSessionsGoLastAndAbandonedSessionsFirst) {
  const auto hoarder = space(1, 8);
  books_.sessions.at(0).asked_authority = true;
  books_.sessions.at(5).client_saved = true;
  books_.sessions.at(5).space = SpaceId{};
  (void)wait(space(2, 0), 0);
  EXPECT_EQ(taking(20 * kSecond).number, 5U);
  books_.sessions.erase(5);
  EXPECT_EQ(taking(20 * kSecond).number, 1U);
  EXPECT_EQ(books_.sessions.at(1).space, hoarder);
}

TEST_F(SessionQueueTest, AnEndlessLeaseHoldsButNotAgainstTheTenure) {
  const auto keeper = space(1, 2);
  for (auto& [number, session] : books_.sessions) session.lease = SessionTerms::kEndless;
  (void)space(2, 2, 1000 * kSecond);
  (void)space(3, 2, 1000 * kSecond);
  (void)space(4, 2, 1000 * kSecond);
  (void)wait(space(5, 0), 0);
  const auto taken = taking(20 * kSecond).number;
  ASSERT_TRUE(taken) << "all of them are above 6/5";
  EXPECT_EQ(books_.sessions.at(*taken).space, keeper);
}

}  // namespace
}  // namespace tpmspace::space
