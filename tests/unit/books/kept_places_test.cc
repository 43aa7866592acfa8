#include "books/kept_places.h"

#include <gtest/gtest.h>

namespace tpmspace::space {
namespace {

constexpr OwnerId kOne{1}, kTwo{2};

TEST(KeptPlaces, APlaceIsUsedOnceAndTellsWhenItsOwnerWasServed) {
  KeptPlaces places;
  EXPECT_TRUE(places.keep({kOne, 100, 7}, 16));
  EXPECT_EQ(places.use(kTwo), std::nullopt);
  EXPECT_EQ(places.use(kOne), 7U);
  EXPECT_EQ(places.use(kOne), std::nullopt);
}

TEST(KeptPlaces, ItIsKeptUntilItsTime) {
  KeptPlaces places;
  EXPECT_EQ(places.next_end(), UINT64_MAX);
  EXPECT_TRUE(places.keep({kOne, 100, 7}, 16));
  EXPECT_TRUE(places.keep({kTwo, 90, 7}, 16));
  EXPECT_EQ(places.next_end(), 90U);
  places.expire(99);
  EXPECT_EQ(places.of(kOne), 1U);
  EXPECT_EQ(places.of(kTwo), 0U);
  places.expire(100);
  EXPECT_EQ(places.size(), 0U);
}

TEST(KeptPlaces, NoOwnerFillsTheTable) {
  KeptPlaces places;
  for (int i = 0; i < 100; ++i) (void)places.keep({kOne, 100, 7}, 16);
  EXPECT_EQ(places.of(kOne), 8U) << "half of it";
  EXPECT_TRUE(places.keep({kTwo, 100, 7}, 16));
  for (std::uint64_t owner = 3; owner < 100; ++owner) (void)places.keep({OwnerId{owner}, 100, 7}, 16);
  EXPECT_LE(places.size(), 16U);
}

}  // namespace
}  // namespace tpmspace::space
