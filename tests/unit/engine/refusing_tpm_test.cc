// A TPM that will not let go: FlushContext and ContextSave refused for the moment, or for ever.
#include "engine_behind_meddler.h"

namespace tpmspace::engine {
namespace {

// Warnings: the TPM did nothing and may do it later.
constexpr Rc kWarnings[] = {wire::rc::kYielded, wire::rc::kTesting, wire::rc::kRetry, wire::rc::kCanceled};

class RefusingTpm : public EngineBehindMeddler {
 protected:
  void refuse_flushes(Rc with) { meddler_->refuse_always(cc::kFlushContext, with); }
  std::uint64_t flushes() { return meddler_->sent[cc::kFlushContext]; }

  // Steps without a pause, each a microsecond later; how many were idle.
  int idle_steps(int steps) {
    int idle = 0;
    for (int i = 0; i < steps; ++i) {
      const auto step = engine_->step(now_ += 1000);
      if (!step.idle) continue;
      ++idle;
      EXPECT_GT(step.wake.value_or(0), now_) << "it would never be tried again, or at once";
    }
    return idle;
  }
};

class RefusedFlush : public RefusingTpm, public testing::WithParamInterface<Rc> {};
INSTANTIATE_TEST_SUITE_P(Warnings, RefusedFlush, testing::ValuesIn(kWarnings));

TEST_P(RefusedFlush, AnObjectThatItsClientFlushedGoesLater) {
  const auto a = open();
  refuse_flushes(GetParam());
  for (int i = 0; i < 2; ++i) {
    const auto key = primary(a);
    EXPECT_EQ(run(a, flush_context(key)).code, 0U) << "for the client it is gone";
    EXPECT_EQ(run(a, read_public(key)).code, 0x000B0910U);
  }
  EXPECT_EQ(objects_held(), 2U);
  EXPECT_EQ(engine_->snapshot().objects_loaded, 2U) << "the books forgot what the TPM still holds";
  meddler_->behave();
  rest_for(3 * kSecond);
  EXPECT_EQ(objects_held(), 0U);
  EXPECT_EQ(engine_->snapshot().objects_loaded, 0U);
}

TEST_P(RefusedFlush, AnObjectOfAClientThatLeftGoesLater) {
  const auto a = open();
  for (int i = 0; i < 3; ++i) (void)primary(a);
  engine_->close(a);
  refuse_flushes(GetParam());
  rest_for(3 * kSecond);
  EXPECT_EQ(engine_->snapshot().objects_loaded, 3U);
  meddler_->behave();
  rest_for(3 * kSecond);
  EXPECT_EQ(objects_held(), 0U);
}

TEST_P(RefusedFlush, ASessionThatItsClientFlushedGoesLater) {
  const auto a = open();
  std::vector<std::uint32_t> sessions;
  sessions.reserve(5);
  for (int i = 0; i < 5; ++i) sessions.push_back(session(a));  // two of them are saved
  refuse_flushes(GetParam());
  for (const auto one : sessions) EXPECT_EQ(run(a, flush_context(one)).code, 0U);
  EXPECT_EQ(sessions_held(), 5U);
  EXPECT_EQ(engine_->snapshot().sessions_loaded, 3U) << "the books forgot what the TPM still holds";
  meddler_->behave();
  rest_for(3 * kSecond);
  EXPECT_EQ(sessions_held(), 0U);
}

TEST_P(RefusedFlush, ASessionOfAClientThatLeftGoesLater) {
  const auto a = open();
  for (int i = 0; i < 5; ++i) (void)session(a);
  engine_->close(a);
  refuse_flushes(GetParam());
  rest_for(3 * kSecond);
  EXPECT_EQ(sessions_held(), 5U);
  meddler_->behave();
  rest_for(10 * kSecond);
  EXPECT_EQ(sessions_held(), 0U);
}

TEST_P(RefusedFlush, OthersFindTheirRoomAfterwards) {
  const auto a = open(1), b = open(2);
  refuse_flushes(GetParam());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(a, flush_context(primary(a))).code, 0U);
  meddler_->behave();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(b, sign(primary(b))).code, 0U);
  EXPECT_EQ(objects_held(), 3U);
}

TEST_F(RefusingTpm, FlushesThatAreAlwaysRefusedAreNotTriedInASpin) {
  const auto a = open();
  for (int i = 0; i < 3; ++i) (void)primary(a);
  for (int i = 0; i < 3; ++i) (void)session(a);
  engine_->close(a);
  refuse_flushes(wire::rc::kTesting);
  const auto before = flushes();
  EXPECT_GT(idle_steps(5000), 4990);
  EXPECT_LE(flushes() - before, 2U) << "within 5 ms";
  now_ += 2 * kSecond;
  EXPECT_FALSE(engine_->step(now_).idle) << "later it is tried again";
  EXPECT_GT(flushes() - before, 1U);
}

TEST_F(RefusingTpm, AnObjectThatIsNeverFlushedIsNotTriedInASpin) {
  const auto a = open();
  (void)primary(a);
  engine_->close(a);
  refuse_flushes(wire::rc::kFailure);
  EXPECT_GT(idle_steps(5000), 4990);
}

TEST_F(RefusingTpm, PuttingAwayThatIsAlwaysRefusedIsNotTriedInASpin) {
  remake(1);
  const auto a = open();
  const auto key = primary(a);
  meddler_->refuse_always(cc::kContextSave, wire::rc::kFailure);
  now_ += kSecond;
  const auto before = meddler_->sent[cc::kContextSave];
  EXPECT_GT(idle_steps(5000), 4990);
  EXPECT_LE(meddler_->sent[cc::kContextSave] - before, 2U);
  meddler_->behave();
  rest_for(3 * kSecond);
  EXPECT_EQ(objects_held(), 0U) << "now it can be put away";
  EXPECT_EQ(run(a, sign(key)).code, 0U);
}

TEST_F(RefusingTpm, PuttingAwayWhoseFlushIsAlwaysRefusedIsNotTriedInASpin) {
  remake(1);
  const auto a = open();
  const auto key = primary(a);
  refuse_flushes(wire::rc::kRetry);
  now_ += kSecond;
  EXPECT_GT(idle_steps(5000), 4990);
  EXPECT_EQ(run(a, sign(key)).code, 0U) << "it is still there";
  meddler_->behave();
  rest_for(3 * kSecond);
  EXPECT_EQ(objects_held(), 0U);
  EXPECT_EQ(run(a, sign(key)).code, 0U);
}

TEST_F(RefusingTpm, ClientsAreServedAllTheSame) {
  const auto a = open(1), b = open(2);
  for (int i = 0; i < 12; ++i) (void)session(a);
  engine_->close(a);  // a backlog: from now on tidying would come before every other command
  refuse_flushes(wire::rc::kTesting);
  const auto before = flushes();
  for (int i = 0; i < 50; ++i) {
    const auto ticket = submit(b, get_random());
    for (bool answered = false; !answered;) {
      const auto step = engine_->step(now_);
      ASSERT_FALSE(step.idle) << "somebody waits";
      answered = step.reply && step.reply->ticket == ticket;
    }
  }
  EXPECT_LE(flushes() - before, 2U) << "within 50 ms";
}

}  // namespace
}  // namespace tpmspace::engine
