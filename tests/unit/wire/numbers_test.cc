#include "wire/numbers.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "../../support/any_numbers.h"

namespace tpmspace::wire {
namespace {

TEST(Numbers, HaveOneFormOnly) {
  EXPECT_EQ((Numbers{{5, 9}, {1, 2}, {3, 4}, {7, 12}}), (Numbers{{1, 12}}));
  EXPECT_EQ((Numbers{{0, UINT32_MAX}, {3, 4}}), Numbers::all());
  EXPECT_EQ((Numbers{{UINT32_MAX, UINT32_MAX}, {0, UINT32_MAX - 1}}), Numbers::all());
  EXPECT_EQ(Numbers{}.ranges().size(), 0U);
}

TEST(Numbers, ContainARangeOnlyCompletely) {
  const Numbers numbers{{1, 4}, {6, 9}};
  EXPECT_TRUE(numbers.contains({1, 4}));
  EXPECT_FALSE(numbers.contains({4, 6}));
  EXPECT_FALSE(numbers.contains({0, 1}));
  EXPECT_TRUE(Numbers::all().contains({0, UINT32_MAX}));
}

TEST(Numbers, OfEverythingAndNothing) {
  EXPECT_EQ(~Numbers{}, Numbers::all());
  EXPECT_TRUE((~Numbers::all()).empty());
  EXPECT_EQ(~Numbers::one(0), (Numbers{{1, UINT32_MAX}}));
  EXPECT_EQ(~Numbers::one(UINT32_MAX), (Numbers{{0, UINT32_MAX - 1}}));
}

RC_GTEST_PROP(Numbers, AreSets, ()) {
  const auto a = *support::any_numbers(0, 40), b = *support::any_numbers(0, 40);
  for (std::uint32_t n = 0; n <= 50; ++n) {
    RC_ASSERT((a | b).contains(n) == (a.contains(n) || b.contains(n)));
    RC_ASSERT((a & b).contains(n) == (a.contains(n) && b.contains(n)));
    RC_ASSERT((a - b).contains(n) == (a.contains(n) && !b.contains(n)));
    RC_ASSERT((~a).contains(n) == !a.contains(n));
  }
  RC_ASSERT(~~a == a);
  for (std::size_t i = 1; i < a.ranges().size(); ++i)
    RC_ASSERT(std::uint64_t{a.ranges()[i - 1].last} + 1 < a.ranges()[i].first);
}

}  // namespace
}  // namespace tpmspace::wire
