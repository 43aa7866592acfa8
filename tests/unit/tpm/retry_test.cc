#include "tpm/retry.h"

#include <numeric>

#include "support.h"

namespace tpmspace::tpm {
namespace {

using namespace test;

struct Rig {
  explicit Rig(ScriptedTpm::Script script) {
    auto scripted = std::make_unique<ScriptedTpm>(std::move(script));
    auto fake = std::make_unique<FakeTimer>();
    inner = scripted.get();
    timer = fake.get();
    retrying = std::make_unique<RetryingTpm>(std::move(scripted), std::move(fake));
  }
  ScriptedTpm* inner = nullptr;
  FakeTimer* timer = nullptr;
  std::unique_ptr<RetryingTpm> retrying;
};

// `first` as often as `times`, then success.
ScriptedTpm::Script at_first(wire::Rc first, int times) {
  return [first, left = times](ByteView) mutable -> Answer {
    return wire::error_response(left-- > 0 ? first : rc::kSuccess);
  };
}

TEST(Retry, SendsTheSameBytesAgainUntilTheTpmHasTime) {
  for (const wire::Rc code : {rc::kRetry, rc::kTesting, rc::kYielded, rc::kNvRate}) {
    Rig rig(at_first(code, 4));
    EXPECT_EQ(code_of(rig.retrying->transact(get_random(), 2)), rc::kSuccess) << code;
    EXPECT_EQ(rig.inner->sent, std::vector<Bytes>(5, get_random())) << code;
    EXPECT_EQ(rig.inner->localities, std::vector<std::uint8_t>(5, 2)) << code;
  }
}

TEST(Retry, WaitsLongerEachTimeAndGivesUpWithTheTpmsLastAnswer) {
  const struct {
    wire::Rc code;
    std::size_t attempts;
    std::int64_t total_us;
  } cases[] = {{rc::kRetry, 12, 1'511'000}, {rc::kNvRate, 5, 3'000'000}};
  for (const auto& row : cases) {
    Rig rig(always(row.code));
    EXPECT_EQ(code_of(rig.retrying->transact(get_random(), 0)), row.code);
    EXPECT_EQ(rig.inner->sent.size(), row.attempts);
    const auto& waits = rig.timer->waits;
    EXPECT_TRUE(std::is_sorted(waits.begin(), waits.end()));
    EXPECT_EQ(std::accumulate(waits.begin(), waits.end(), std::int64_t{0}), row.total_us);
  }
}

TEST(Retry, PassesOnEverythingElseAtOnce) {
  for (const wire::Rc code : {rc::kSuccess, rc::kCanceled, rc::kLockout, rc::kNvUnavailable, rc::kObjectMemory,
                              rc::kInitialize, wire::from_manager(rc::kRetry)}) {
    Rig rig(always(code));
    EXPECT_EQ(code_of(rig.retrying->transact(get_random(), 0)), code);
    EXPECT_EQ(rig.inner->sent.size(), 1U) << code;
  }
}

TEST(Retry, AnErrorIsNoReasonToAskAgain) {
  Rig rig([](ByteView) -> Answer { return tl::unexpected(wire::Tpm::Error{ErrorKind::kNotPossible, "no"}); });
  EXPECT_FALSE(rig.retrying->transact(get_random(), 0));
  EXPECT_EQ(rig.inner->sent.size(), 1U);
}

TEST(Retry, ResponsesWithoutAHeaderArePassedOn) {
  Rig rig([](ByteView) -> Answer { return Bytes{1, 2, 3}; });
  EXPECT_EQ(rig.retrying->transact(get_random(), 0), (Bytes{1, 2, 3}));
}

TEST(Retry, ACancelBetweenAttemptsIsAnsweredCanceled) {
  Rig rig(always(rc::kRetry));
  rig.timer->during_wait = [&] { rig.retrying->cancel(); };
  EXPECT_EQ(code_of(rig.retrying->transact(get_random(), 0)), rc::kCanceled);
  EXPECT_EQ(rig.inner->sent.size(), 1U);
  rig.timer->during_wait = nullptr;
  EXPECT_EQ(code_of(rig.retrying->transact(get_random(), 0)), rc::kRetry) << "and the next command is not canceled";
}

TEST(Retry, ACancelWhileNothingRunsGoesNowhere) {
  Rig rig(always(rc::kSuccess));
  rig.retrying->cancel();
  EXPECT_EQ(rig.inner->cancels, 0);
  EXPECT_EQ(code_of(rig.retrying->transact(get_random(), 0)), rc::kSuccess);
}

TEST(Retry, HangingUpEndsTheWaitAndEverythingAfter) {
  Rig rig(always(rc::kRetry));
  rig.timer->during_wait = [&] { rig.retrying->hang_up(); };
  for (int i = 0; i < 2; ++i) {
    const auto answer = rig.retrying->transact(get_random(), 0);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::kGone);
  }
  EXPECT_EQ(rig.inner->sent.size(), 1U);
  EXPECT_EQ(rig.inner->hang_ups, 1);
}

}  // namespace
}  // namespace tpmspace::tpm
