// The guard against a chip that counts: the last tries stay, whatever unprivileged owners do.
#include "engine/lockout_share.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <vector>

namespace tpmspace::engine {
namespace {

using Owner = LockoutShare::Owner;
using Time = LockoutShare::Time;

LockoutShare of(std::uint32_t tries, Time recovery = 1000) {
  return LockoutShare({.tries = tries, .recovery = recovery});
}

TEST(LockoutShare, IsAQuarterOfTheTriesAndAtLeastOne) {
  const struct {
    std::uint32_t tries, share;
  } cases[] = {{0, 1}, {1, 1}, {3, 1}, {7, 1}, {8, 2}, {32, 8}, {UINT32_MAX, UINT32_MAX / 4}};
  for (const auto& [tries, share] : cases) {
    EXPECT_EQ(of(tries).share(), share) << tries;
    EXPECT_EQ(of(tries).reserve(), share) << tries;
  }
}

TEST(LockoutShare, StopsAnOwnerAtItsShareUntilItsFailuresAgeOut) {
  LockoutShare shares = of(32);
  for (int i = 0; i < 8; ++i) {
    EXPECT_TRUE(shares.may_try(1, 0)) << i;
    shares.failed(1, 0);
  }
  EXPECT_FALSE(shares.may_try(1, 0));
  EXPECT_TRUE(shares.may_try(2, 0)) << "another has its own";
  EXPECT_EQ(shares.wait(1, 0), 1000U);
  EXPECT_EQ(shares.wait(1, 400), 600U);
  EXPECT_FALSE(shares.may_try(1, 999));
  EXPECT_TRUE(shares.may_try(1, 1000)) << "one has aged out";
  shares.failed(1, 1000);
  EXPECT_FALSE(shares.may_try(1, 1999));
  EXPECT_EQ(shares.failures(1, 5000), 4U);
}

TEST(LockoutShare, NamesTheShareThatIsUsedUp) {
  using Shortage = LockoutShare::Shortage;
  LockoutShare shares = of(3);  // 2 for all
  EXPECT_EQ(shares.shortage(1, 0), Shortage::kNone);
  shares.failed(1, 0);
  EXPECT_EQ(shares.shortage(1, 0), Shortage::kOwn);
  EXPECT_EQ(shares.shortage(2, 0), Shortage::kNone);
  shares.failed(2, 0);
  EXPECT_EQ(shares.shortage(2, 0), Shortage::kOwn);
  EXPECT_EQ(shares.shortage(3, 0), Shortage::kAll) << "it has not failed itself";
  LockoutShare others = of(32);  // 24 for all
  for (int i = 0; i < 24; ++i) others.privileged_failed(0);
  EXPECT_EQ(others.shortage(1, 0), Shortage::kAll);
  LockoutShare beside = of(3);
  beside.failed_beside(1, 0);
  EXPECT_EQ(beside.shortage(1, 0), Shortage::kOwn) << "a PIN's tries";
  EXPECT_EQ(of(3, 0).shortage(1, 0), Shortage::kNone) << "the chip's protection is off";
}

TEST(LockoutShare, FourOwnersAtOnceDoNotLockAChipOfThreeTries) {
  LockoutShare shares = of(3);
  int failures = 0;
  for (int round = 0; round < 10; ++round)
    for (Owner owner = 1; owner <= 4; ++owner)
      if (shares.may_try(owner, 0)) {
        shares.failed(owner, 0);
        ++failures;
      }
  EXPECT_EQ(failures, 2) << "the third try is nobody's but the administrator's";
}

TEST(LockoutShare, TheNextClientFindsTries) {
  LockoutShare shares = of(32);  // 24 for all
  std::map<Owner, int> failures;
  for (Owner owner = 1; owner <= 10; ++owner)
    for (; shares.may_try(owner, 0); ++failures[owner]) shares.failed(owner, 0);
  const std::map<Owner, int> expected{{1, 8}, {2, 8}, {3, 4}, {4, 2}, {5, 1}, {6, 1}};
  EXPECT_EQ(failures, expected);
  EXPECT_EQ(shares.wait(7, 0), 1000U) << "the seventh has to wait for one of the others' to age out";
}

TEST(LockoutShare, TriesOfOtherCountersAreCountedSeparately) {
  LockoutShare shares = of(32);
  for (int i = 0; i < 8; ++i) {
    EXPECT_TRUE(shares.may_try(1, 0)) << i;
    shares.failed_beside(1, 0);
  }
  EXPECT_FALSE(shares.may_try(1, 0));
  EXPECT_EQ(shares.failures(0), 0U) << "the chip has counted nothing";
  EXPECT_EQ(shares.failures_beside(1, 0), 8U);
  shares.counter_read(0, 0);
  EXPECT_FALSE(shares.may_try(1, 0)) << "its counter says nothing of them";
  EXPECT_EQ(shares.wait(1, 0), 1000U);
  shares.forgive(0);
  EXPECT_TRUE(shares.may_try(1, 0));
}

TEST(LockoutShare, PrivilegedFailuresCountForAll) {
  LockoutShare shares = of(4);
  for (int i = 0; i < 3; ++i) shares.privileged_failed(0);
  EXPECT_FALSE(shares.may_try(1, 0));
  EXPECT_EQ(shares.failures(1, 0), 0U);
  EXPECT_TRUE(shares.may_try(1, 1000));
}

TEST(LockoutShare, TakesOverTheChipsCounter) {
  LockoutShare shares = of(32);
  shares.counter_read(24, 0);  // a program beside us
  EXPECT_FALSE(shares.may_try(1, 0));
  EXPECT_TRUE(shares.may_try(1, 1000));
  for (int i = 0; i < 8; ++i) shares.failed(1, 1000);
  shares.counter_read(5, 1000);
  EXPECT_FALSE(shares.may_try(1, 1000)) << "its own failures are still its own";
  shares.counter_read(0, 1000);
  EXPECT_TRUE(shares.may_try(1, 1000)) << "the chip has forgotten them all";
  EXPECT_EQ(shares.owners(), 0U);
}

TEST(LockoutShare, OddParameters) {
  LockoutShare off = of(3, 0);
  for (int i = 0; i < 10; ++i) off.failed(1, 0);
  EXPECT_TRUE(off.may_try(1, 0)) << "recovery time 0: the chip does not protect";
  EXPECT_FALSE(of(1).may_try(1, 0)) << "the only try is not for everybody";
  EXPECT_EQ(of(1).wait(1, 0), UINT64_MAX);
  LockoutShare endless = of(8, UINT64_MAX);
  endless.failed(1, 5);
  endless.failed(1, 5);
  EXPECT_EQ(endless.wait(1, 6), UINT64_MAX);
  EXPECT_FALSE(endless.may_try(1, UINT64_MAX - 1));
}

TEST(LockoutShare, NewParametersKeepTheFailures) {
  LockoutShare shares = of(32);
  for (int i = 0; i < 4; ++i) shares.failed(1, 0);
  shares.chip_changed({.tries = 16, .recovery = 10}, 1500);
  EXPECT_EQ(shares.failures(1, 1500), 3U);
  EXPECT_EQ(shares.failures(1, 1510), 2U);
  EXPECT_EQ(shares.share(), 4U);
  shares.chip_changed({.tries = 16, .recovery = 10}, 1519);
  EXPECT_EQ(shares.failures(1, 1520), 1U) << "the same ones: no recovery time begins anew";
}

// Asking for the counter all the time does not keep failures from being forgotten.
TEST(LockoutShare, ACounterThatIsAsKnownBeginsNoRecoveryTime) {
  LockoutShare shares = of(32);
  shares.failed(1, 0);
  for (LockoutShare::Time now = 100; now < 1000; now += 100) shares.counter_read(1, now);
  EXPECT_EQ(shares.failures(1, 1000), 0U);
  shares.failed(1, 1000);
  shares.counter_read(2, 1900);
  EXPECT_EQ(shares.failures(2000), 2U) << "somebody else failed, by 1900 at the latest";
  EXPECT_EQ(shares.failures(2900), 1U);
}

TEST(LockoutShare, TheTableIsBounded) {
  LockoutShare shares = of(UINT32_MAX);
  for (Owner owner = 0; owner < 2 * LockoutShare::kMaxOwners; ++owner) shares.failed(owner, owner % 2);
  EXPECT_EQ(shares.owners(), LockoutShare::kMaxOwners);
  constexpr Owner kOneMore = 1'000'000;
  EXPECT_FALSE(shares.may_try(kOneMore, 1)) << "no place to count it in";
  EXPECT_EQ(shares.wait(kOneMore, 1), 1000U) << "then one of them is forgotten";
  EXPECT_TRUE(shares.may_try(kOneMore, 1001));
  shares.failed(kOneMore, 1001);
  EXPECT_EQ(shares.owners(), LockoutShare::kMaxOwners);
  EXPECT_EQ(shares.failures(kOneMore, 1001), 1U);
}

TEST(LockoutShare, EachRecoveryTimeForgetsOneFailureInAll) {
  LockoutShare shares = of(32);
  for (const Owner owner : {1U, 2U, 2U, 3U}) shares.failed(owner, 0);
  shares.privileged_failed(0);
  shares.failed(1, 10);
  const auto all_at = [&](Time now) {
    return std::vector<std::uint32_t>{shares.failures(now), shares.failures(1, now), shares.failures(2, now),
                                      shares.failures(3, now)};
  };
  EXPECT_EQ(all_at(10), (std::vector<std::uint32_t>{6, 2, 2, 1}));
  EXPECT_EQ(all_at(1010), (std::vector<std::uint32_t>{5, 2, 2, 1})) << "the privileged one's";
  EXPECT_EQ(all_at(2010), (std::vector<std::uint32_t>{4, 2, 1, 1})) << "of whoever has not failed for the longest";
  EXPECT_EQ(all_at(4010), (std::vector<std::uint32_t>{2, 2, 0, 0}));
  EXPECT_EQ(all_at(6010), (std::vector<std::uint32_t>{0, 0, 0, 0}));
}

// A chip, by the specification's words. `restarts`: a failure begins a new recovery time, as in the reference code;
// otherwise the time runs on from whenever it began.
struct ChipModel {
  bool restarts = true;
  std::uint32_t tries = 0;
  Time recovery = 0, next = 0;
  std::uint32_t counter = 0;

  void advance(Time now) {
    for (; now >= next; next += recovery)
      if (counter > 0) --counter;
  }
  void fail(Time now) {
    ++counter;
    if (restarts) next = now + recovery;
  }
};

RC_GTEST_PROP(LockoutShare, NoCrowdTakesTheLastTries, ()) {
  const auto tries = *rc::gen::inRange(1U, 40U);
  const auto recovery = *rc::gen::inRange<Time>(1, 50);
  LockoutShare shares = of(tries, recovery);
  ChipModel chip{.restarts = *rc::gen::arbitrary<bool>(),
                 .tries = tries,
                 .recovery = recovery,
                 .next = *rc::gen::inRange<Time>(1, recovery + 1)};
  std::map<Owner, std::uint32_t> in_this_moment;
  Time now = 0;
  for (int i = 0; i < 300; ++i) {
    const auto passes = *rc::gen::weightedElement<Time>({{8, 0}, {2, 1}, {1, recovery}});
    if (passes > 0) in_this_moment.clear();
    now += passes;
    chip.advance(now);
    RC_ASSERT(shares.failures(now) >= chip.counter);
    const auto owner = *rc::gen::inRange<Owner>(1, 8);
    if (*rc::gen::inRange(0, 20) == 0) {
      shares.counter_read(chip.counter, now);
      RC_ASSERT(shares.failures(now) == chip.counter);
      if (chip.counter == 0) in_this_moment.clear();
    } else if (shares.may_try(owner, now)) {
      RC_ASSERT(shares.wait(owner, now) == 0U);
      if (*rc::gen::inRange(0, 5) == 0) {
        shares.failed_beside(owner, now);
        continue;
      }
      shares.failed(owner, now);
      chip.fail(now);
      RC_ASSERT(++in_this_moment[owner] <= shares.share());
      RC_ASSERT(chip.counter <= tries - shares.reserve());
    } else if (const Time wait = shares.wait(owner, now); wait != UINT64_MAX) {
      RC_ASSERT(!shares.may_try(owner, now + wait - 1));
      RC_ASSERT(shares.may_try(owner, now + wait));
    }
  }
}

// Found by a simulated world: owners were forgiven one failure each while the chip forgot one in all, so three that
// took their turns patiently had all of the tries after a while.
RC_GTEST_PROP(LockoutShare, AFewThatGoOnForEverLeaveSomethingForWhoHasNotFailed, ()) {
  constexpr Owner kInnocent = 9;
  LockoutShare shares = of(16, 1000);
  ChipModel chip{.restarts = true, .tries = 16, .recovery = 1000, .next = 1000};
  Time now = 0;
  for (int i = 0; i < 400; ++i) {
    now += *rc::gen::element<Time>(0, 1, 333, 500, 1000, 8000);
    chip.advance(now);
    const auto owner = *rc::gen::inRange<Owner>(1, 4);
    if (*rc::gen::inRange(0, 4) == 0) shares.counter_read(chip.counter, now);
    if (shares.may_try(owner, now)) {
      shares.failed(owner, now);
      chip.fail(now);
    }
    RC_ASSERT(shares.may_try(kInnocent, now));
  }
}

}  // namespace
}  // namespace tpmspace::engine
