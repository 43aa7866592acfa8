// How many connections an owner, a user and a namespace may have.
#include "access/client_limits.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "peer/owner_numbers.h"

namespace tpmspace::access {
namespace {

TEST(ClientLimits, PlacesGiveThemselvesBack) {
  using Verdict = ClientLimits::Verdict;
  const space::OwnerId alice{1}, bob{2};
  ClientLimits limits(4);
  auto a = std::make_optional(limits.take({.owner = alice, .part = {}}));
  auto b = limits.take({.owner = alice, .part = {}});
  EXPECT_EQ(limits.judge(alice, 2), Verdict::kTooManyOfOwner);
  EXPECT_EQ(limits.judge(bob, 2), Verdict::kWelcome);
  const auto c = limits.take({.owner = bob, .part = {}}), d = limits.take({.owner = bob, .part = {}});
  EXPECT_EQ(limits.judge(bob, 9), Verdict::kTooMany);
  auto moved = std::move(a);
  a.reset();  // NOLINT(bugprone-use-after-move): what is moved from must not give a place back
  EXPECT_EQ(limits.total(), 4U);
  EXPECT_EQ(limits.total_of(alice), 2U);
  moved.reset();
  EXPECT_EQ(limits.total(), 3U);
  EXPECT_EQ(limits.judge(alice, 2), Verdict::kWelcome);

  ClientLimits endless(0);
  const auto e = endless.take({.owner = alice, .part = {}});
  EXPECT_EQ(endless.judge(bob, 1), Verdict::kWelcome);
}

TEST(ClientLimits, OneOwnerDoesNotKeepOthersOut) {
  using Verdict = ClientLimits::Verdict;
  ClientLimits limits(100);
  const space::OwnerId greedy{1}, next{2};
  std::vector<ClientLimits::Place> places;
  while (limits.judge(greedy, 1000) == Verdict::kWelcome) places.push_back(limits.take({.owner = greedy, .part = {}}));
  EXPECT_EQ(limits.judge(greedy, 1000), Verdict::kTooManyOfShare);
  EXPECT_LT(places.size(), 50U);
  EXPECT_EQ(limits.judge(next, 1000), Verdict::kWelcome);
  EXPECT_TRUE(limits.has_kept_place());
  places.pop_back();
  EXPECT_EQ(limits.judge(greedy, 1000), Verdict::kWelcome);
}

TEST(ClientLimits, ANamespacesPlacesAreThoseOfAllItsOwners) {
  using Verdict = ClientLimits::Verdict;
  ClientLimits limits(0);
  const auto alice = peer::owner_of(1, 7), bob = peer::owner_of(2, 7), outside = peer::owner_of(1),
             elsewhere = peer::owner_of(1, 8);
  auto a = std::make_optional(limits.take({.owner = alice, .part = {}}));
  const auto b = limits.take({.owner = bob, .part = {}});
  EXPECT_EQ(limits.judge(bob, 9, 2), Verdict::kTooManyOfNamespace);
  EXPECT_EQ(limits.judge(elsewhere, 9, 2), Verdict::kWelcome);
  EXPECT_EQ(limits.judge(outside, 1), Verdict::kWelcome);
  a.reset();
  EXPECT_EQ(limits.judge(alice, 9, 2), Verdict::kWelcome);
}

// A profile's limit is each user's, also where several are one owner.
TEST(ClientLimits, AUsersPlacesAreTheirOwn) {
  using Verdict = ClientLimits::Verdict;
  ClientLimits limits(0);
  const auto alice = peer::part_of_tenant(1, 7), bob = peer::part_of_tenant(2, 7);
  const auto a = limits.take(alice), b = limits.take(alice);
  EXPECT_EQ(limits.judge(alice, 9, 2, 9), Verdict::kTooManyOfUser);
  EXPECT_EQ(limits.judge(bob, 9, 2, 9), Verdict::kWelcome);
  EXPECT_EQ(limits.judge(bob, 2, 2, 9), Verdict::kTooManyOfOwner);
  EXPECT_EQ(limits.judge(peer::part_of_tenant(1, 8), 9, 1, 9), Verdict::kWelcome);
}

TEST(ClientLimits, KeptPlacesTakeNobodyElses) {
  using Verdict = ClientLimits::Verdict;
  const space::OwnerId alice{1}, root{2};
  ClientLimits limits(1);
  std::vector<ClientLimits::Place> kept;
  for (unsigned i = 0; i < limits::kAdministratorPlaces; ++i) {
    EXPECT_TRUE(limits.has_kept_place());
    kept.push_back(limits.take({.owner = root, .part = {}}, ClientLimits::Kind::kKept));
  }
  EXPECT_FALSE(limits.has_kept_place());
  EXPECT_EQ(limits.judge(alice, 9), Verdict::kWelcome);
  auto usual = std::make_optional(limits.take({.owner = alice, .part = {}}));
  EXPECT_TRUE(limits.is_full());
  EXPECT_EQ(limits.judge(root, 99), Verdict::kTooMany);
  kept.pop_back();
  EXPECT_TRUE(limits.has_kept_place());
  EXPECT_TRUE(limits.is_full());
  usual.reset();
  EXPECT_FALSE(limits.is_full());
}

}  // namespace
}  // namespace tpmspace::access
