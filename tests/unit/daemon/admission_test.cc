// How the system's descriptors are divided. The way of a client is in tests/integration (daemon_limits, daemon_flood).
#include "daemon/admission.h"

#include <gtest/gtest.h>

namespace tpmspace::daemon {
namespace {

TEST(Descriptors, ClientsGetWhatIsLeftOfTheLimit) {
  constexpr std::uint32_t kOwn = 30;
  for (const std::uint32_t limit : {1024U, 4096U, 16'384U, 524'288U, 4'000'000'000U}) {
    const Descriptors all = divide_descriptors(limit, kOwn);
    EXPECT_GT(all.clients, limit / 3) << limit;
    EXPECT_LT(all.clients + all.arrivals + all.refused + kOwn, limit) << limit;
    EXPECT_GE(all.refused, 1U) << limit;
    EXPECT_LE(all.refused, limits::kRefusedAtATime) << limit;
  }
}

TEST(Descriptors, OneClientIsServedHoweverFewThereAre) {
  const Descriptors few = divide_descriptors(40, 30);
  EXPECT_EQ(few.clients, 1U);
  EXPECT_GE(few.arrivals, 1U);
  EXPECT_GE(few.refused, 1U);
}

}  // namespace
}  // namespace tpmspace::daemon
