// The choice of abandoned sessions to end for a space whose pools are full: by hand-made books, without a TPM.
#include "space/reclaim.h"

#include <gtest/gtest.h>

#include "support.h"

namespace tpmspace::space {
namespace {

constexpr PoolId kPoolOne{1}, kPoolTwo{2};
using Numbers = std::vector<std::uint32_t>;

class FullPools : public testing::Test {
 protected:
  // In two pools with room for so many sessions.
  SpaceId space(std::uint32_t in_one, std::uint32_t in_two, Exhaustion exhaustion = Exhaustion::kReclaim) {
    SpaceLimits limits;
    limits.pools = {Pool{.id = kPoolOne, .sessions = in_one}, Pool{.id = kPoolTwo, .sessions = in_two}};
    limits.terms.exhaustion = exhaustion;
    return open_space(books_, OwnerId{1}, limits);
  }
  Session& hold(SpaceId space) {
    const auto number = static_cast<std::uint32_t>(books_.sessions.size());
    Session session;
    session.handle = 0x02000000 + number;
    session.client = {session.handle};
    session.owner = OwnerId{1};
    session.space = space;
    session.last_use = ++books_.tick;
    session.lease = 10 * kSecond;
    return books_.sessions.emplace(number, session).first->second;
  }
  // Left behind, of those pools; used at time 0.
  Session& leave(PoolId pool, PoolId other = {}) {
    Session& out = hold(SpaceId{});
    out.client_saved = true;
    out.left_pools = {other, pool};
    return out;
  }
  [[nodiscard]] auto taken(SpaceId for_whom, std::uint64_t now = 10 * kSecond) const {
    return left_behind_to_take(books_, for_whom, now);
  }

  Books books_;
};

TEST_F(FullPools, NothingGoesWhereThereIsRoom) {
  const auto here = space(2, 1);
  leave(kPoolOne);
  EXPECT_EQ(taken(here), Numbers{});
}

TEST_F(FullPools, TheOldestGoesOnceItsLeaseIsOver) {
  const auto here = space(2, 9);
  leave(kPoolOne).last_use = 7;
  leave(kPoolOne).last_use = 3;
  EXPECT_EQ(taken(here, 10 * kSecond - 1), std::nullopt) << "it is still promised";
  EXPECT_EQ(taken(here), Numbers{1});
  books_.sessions.at(1).asked_authority = true;
  EXPECT_EQ(taken(here), Numbers{0}) << "an outside authority would have to be asked again";
  books_.sessions.at(0).lease = SessionTerms::kEndless;
  EXPECT_EQ(taken(here), Numbers{1});
  books_.sessions.at(1).lease = SessionTerms::kEndless;
  EXPECT_EQ(taken(here, UINT64_MAX - 1), std::nullopt);
}

TEST_F(FullPools, ASessionOfASpaceStaysHoweverIdle) {
  const auto here = space(2, 9);
  hold(here);
  hold(here).client_saved = true;
  EXPECT_EQ(taken(here, 100 * kSecond), std::nullopt);
}

TEST_F(FullPools, ASessionOfOtherPoolsStays) {
  const auto here = space(1, 9);
  hold(here);
  leave(kPoolTwo);
  leave(PoolId{3});
  EXPECT_EQ(taken(here), std::nullopt);
}

TEST_F(FullPools, AllOrNothing) {
  const auto here = space(1, 1);
  hold(here);
  leave(kPoolOne);
  EXPECT_EQ(taken(here), std::nullopt) << "the one that is used fills both";
  books_.sessions.erase(0);
  EXPECT_EQ(taken(here), Numbers{1}) << "the other one has room";
}

TEST_F(FullPools, NoMoreThanAreNeeded) {
  const auto here = space(2, 1);
  leave(kPoolOne);
  leave(kPoolTwo, kPoolOne);
  EXPECT_EQ(taken(here), Numbers{1}) << "it is in both, so the older one need not go";
  leave(kPoolOne);
  EXPECT_EQ(taken(here), (Numbers{0, 1})) << "a limit may have become smaller than what is held";
}

TEST_F(FullPools, TermsThatTakeNothingFromAnybodyTakeNothingHere) {
  for (const auto exhaustion : {Exhaustion::kRefuse, Exhaustion::kWait, Exhaustion::kClose}) {
    const auto here = space(1, 9, exhaustion);
    leave(kPoolOne);
    EXPECT_EQ(taken(here), std::nullopt);
    books_ = {};
  }
}

}  // namespace
}  // namespace tpmspace::space
