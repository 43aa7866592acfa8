// Answers that cannot be: a handle of the wrong kind, one that is taken, no context where one must be. The engine does
// not believe them, asks the TPM for its contents, and other clients' entities stay as they were.
#include "engine_behind_meddler.h"

namespace tpmspace::engine {
namespace {

constexpr Rc kOurFailure = 0x000B0101;

// Of its own, and one that others use as well, such as a device.
class LyingTpm : public EngineBehindMeddler, public testing::WithParamInterface<std::uint32_t> {
 protected:
  void SetUp() override {
    EngineBehindMeddler::SetUp();
    remake(GetParam());
    victim_ = open(1);
    liar_ = open(2);
    key_ = key_of_its_own(victim_, 1);
    policy_ = session(victim_, SessionType::kPolicy);
    public_ = public_of(victim_, key_);
    EXPECT_EQ(run(victim_, policy_command_code(policy_, cc::kUnseal)).code, 0U);
    digest_ = run(victim_, policy_get_digest(policy_)).parameters;
  }

  void expect_victim_unharmed() {
    EXPECT_EQ(engine_->check(), std::nullopt);
    EXPECT_TRUE(wire::same_bytes(public_of(victim_, key_), public_));
    EXPECT_EQ(run(victim_, sign(key_)).code, 0U);
    EXPECT_TRUE(wire::same_bytes(run(victim_, policy_get_digest(policy_)).parameters, digest_));
  }
  // The TPM holds the entities of the books, and no more: the rejected response left no entity behind.
  void expect_nothing_left_over() {
    rest_for(3 * kSecond);
    EXPECT_EQ(objects_held(), engine_->snapshot().objects_loaded);
    EXPECT_EQ(sessions_held(), engine_->snapshot().sessions);
  }

  ConnectionId victim_ = 0, liar_ = 0;
  std::uint32_t key_ = 0, policy_ = 0;
  Bytes public_, digest_;
};

INSTANTIATE_TEST_SUITE_P(KeepFree, LyingTpm, testing::Values(0U, 1U));

// A TPM with other users, and their sessions.
class SharedTpm : public EngineBehindMeddler {
 protected:
  std::uint32_t start_one_of_others() {
    const auto answer = tpm_->transact(start_session(SessionType::kHmac), 0);
    return wire::Reader(ByteView(*answer).subspan(wire::kHeaderSize)).u32().value_or(0);
  }
  using Handles = std::vector<std::uint32_t>;
};

TEST_F(SharedTpm, AfterASpoiltResponseOnlyOurSessionIsFlushed) {
  const auto saved = start_one_of_others();
  ASSERT_TRUE(tpm_->transact(context_save(saved), 0));
  const auto loaded = start_one_of_others();
  chip_.others_loaded_sessions = {loaded};
  remake(1);
  const auto before = held(0x03000000);
  ASSERT_EQ(before.size(), 1U);
  const auto client = open(1);
  meddler_->put_handle_once(cc::kStartAuthSession, 0x80000000);
  EXPECT_EQ(run(client, start_session(SessionType::kHmac)).code, kOurFailure);
  EXPECT_EQ(held(0x02000000).size(), 2U) << "the session of the spoilt response";
  rest_for(3 * kSecond);
  EXPECT_EQ(held(0x02000000), Handles{loaded});
  EXPECT_EQ(held(0x03000000), before);
}

TEST_F(SharedTpm, WithoutASpoiltResponseNoSessionOfOthersIsFlushed) {
  remake(1);
  const auto late = start_one_of_others();
  const auto client = open(1);
  (void)session(client, SessionType::kPolicy);
  (void)engine_->flush_all(true);
  EXPECT_EQ(held(0x02000000), Handles{late});
}

TEST_P(LyingTpm, AnObjectsHandleForASessionIsNoAnswer) {
  for (const std::uint32_t handle : {0x80000000U, 0x80000002U, 0x81000001U, 0x40000001U, 0U}) {
    meddler_->put_handle_once(cc::kStartAuthSession, handle);
    EXPECT_EQ(run(liar_, start_session(SessionType::kHmac)).code, kOurFailure) << std::hex << handle;
    expect_nothing_left_over();
  }
  EXPECT_EQ(meddler_->meddled, 5U);
  expect_victim_unharmed();
}

TEST_P(LyingTpm, AHandleThatTheTpmDoesNotListIsNoAnswer) {
  (void)tpm_->transact(flush_context(0x80000000), 0);
  meddler_->spoil = [this](std::uint32_t code, wire::Bytes& answer) {
    if (code != cc::kCreatePrimary || wire::read_header(answer)->code != 0) return;
    EXPECT_EQ(wire::Reader(ByteView(answer).subspan(wire::kHeaderSize)).u32(), 0x80000000U) << "the books have it";
    (void)tpm_->transact(flush_context(0x80000000), 0);
    meddler_->spoil = {};
  };
  EXPECT_EQ(run(liar_, unlike_others(2)).code, kOurFailure);
  EXPECT_EQ(engine_->check(), std::nullopt);
  EXPECT_EQ(run(liar_, unlike_others(2)).code, 0U) << "the next one is believed";
  expect_nothing_left_over();
}

TEST_P(LyingTpm, ANumberThatNoSessionCanHaveIsNoAnswer) {
  for (const std::uint32_t handle : {0x02000040U, 0x02FFFFFFU}) {
    meddler_->put_handle_once(cc::kStartAuthSession, handle);
    EXPECT_EQ(run(liar_, start_session(SessionType::kHmac)).code, kOurFailure) << std::hex << handle;
    expect_nothing_left_over();
  }
  expect_victim_unharmed();
}

TEST_P(LyingTpm, ASessionsHandleForAnObjectIsNoAnswer) {
  for (const std::uint32_t handle : {policy_, 0x02000005U, 0x81000001U, 0x40000001U, 0U}) {
    meddler_->put_handle_once(cc::kCreatePrimary, handle);
    EXPECT_EQ(run(liar_, unlike_others(2)).code, kOurFailure) << std::hex << handle;
    expect_nothing_left_over();
  }
  EXPECT_EQ(meddler_->meddled, 5U);
  EXPECT_EQ(engine_->snapshot().objects, 1U);
  expect_victim_unharmed();
}

// Another user of the chip flushed it, and the TPM is right to give the handle again.
TEST_P(LyingTpm, AHandleThatIsGivenAgainBelongsToItsNewClient) {
  (void)tpm_->transact(flush_context(0x80000000), 0);
  const auto made = run(liar_, unlike_others(2));
  ASSERT_EQ(made.code, 0U);
  EXPECT_EQ(run(victim_, read_public(key_)).code, 0x000B0910U);
  EXPECT_EQ(run(victim_, policy_get_digest(policy_)).code, 0U);
  EXPECT_FALSE(wire::same_bytes(public_of(liar_, made.handle), public_));
  EXPECT_EQ(run(liar_, sign(made.handle)).code, 0U);
  expect_nothing_left_over();
}

TEST_P(LyingTpm, AHandleThatIsGivenAgainLeavesTheBooksRightAlsoIfTheTpmCannotBeAsked) {
  (void)tpm_->transact(flush_context(0x80000000), 0);
  meddler_->refuse_always(cc::kGetCapability, wire::rc::kFailure);
  const auto made = run(liar_, unlike_others(2));
  EXPECT_EQ(made.code, 0U);
  EXPECT_EQ(run(victim_, read_public(key_)).code, 0x000B0910U);
  meddler_->behave();
  EXPECT_EQ(run(liar_, sign(made.handle)).code, 0U);
  expect_nothing_left_over();
}

TEST_P(LyingTpm, AnObjectThatIsSavedComesBackWhenItsHandleWasGivenAgain) {
  EXPECT_EQ(run(victim_, context_save(key_)).code, 0U);
  (void)tpm_->transact(flush_context(0x80000000), 0);
  EXPECT_EQ(run(liar_, unlike_others(2)).code, 0U);
  expect_victim_unharmed();
}

// A garbled answer: the handle in it is that of another client's object, which is there and well.
TEST_P(LyingTpm, AHandleOfAnotherClientGivesNoOtherClientItsKey) {
  meddler_->put_handle_once(cc::kCreatePrimary, 0x80000000);
  const auto made = run(liar_, unlike_others(2));
  EXPECT_EQ(meddler_->meddled, 1U);
  EXPECT_FALSE(made.code == 0 && wire::same_bytes(public_of(liar_, made.handle), public_)) << "another client's key";
  expect_nothing_left_over();
}

// Our own ContextLoad.
TEST_P(LyingTpm, AnObjectThatComesBackUnderATakenHandleIsNotBooked) {
  std::vector<std::uint32_t> keys;
  for (std::uint8_t i = 2; i < 6; ++i) keys.push_back(key_of_its_own(liar_, i));
  EXPECT_TRUE(wire::same_bytes(public_of(victim_, key_), public_));  // loaded again, so used last
  const auto of_last = public_of(liar_, keys[3]);
  std::size_t turn = 0, refused = 0;
  for (const std::uint32_t handle : {0x80000000U, 0x80000001U, 0x80000002U, policy_, 0x81000000U}) {
    // The one that was put away longest ago.
    const auto key = keys[turn++ % 3];
    meddler_->put_handle_once(cc::kContextLoad, handle);
    const auto answer = run(liar_, read_public(key));
    EXPECT_FALSE(answer.code == 0 && wire::same_bytes(answer.parameters, public_)) << "another client's key";
    refused += answer.code == kOurFailure ? 1U : 0U;
    expect_victim_unharmed();
    EXPECT_TRUE(wire::same_bytes(public_of(liar_, keys[3]), of_last));
  }
  EXPECT_EQ(meddler_->meddled, 5U);
  EXPECT_GE(refused, 4U) << "at most one of the handles was the right one";
  expect_nothing_left_over();
}

TEST_P(LyingTpm, ASessionThatComesBackWithAnothersNumberIsNotBooked) {
  std::vector<std::uint32_t> sessions;
  sessions.reserve(4);
  for (int i = 0; i < 4; ++i) sessions.push_back(session(liar_, SessionType::kPolicy));
  EXPECT_EQ(run(victim_, policy_get_digest(policy_)).code, 0U);  // loaded again, so used last
  meddler_->put_handle_once(cc::kContextLoad, policy_);
  EXPECT_EQ(run(liar_, policy_get_digest(sessions[0])).code, kOurFailure);
  EXPECT_EQ(meddler_->meddled, 1U);
  EXPECT_EQ(run(liar_, policy_get_digest(sessions[0])).code, 0U) << "the TPM said where it is";
  for (const auto one : sessions) EXPECT_EQ(run(liar_, policy_get_digest(one)).code, 0U);
  expect_victim_unharmed();
  expect_nothing_left_over();
}

TEST_P(LyingTpm, ASaveWithoutAContextKeepsTheObjectWhereItIs) {
  if (GetParam() != 0) return;  // room is made in idle time there, before the command
  for (std::uint8_t i = 2; i < 4; ++i) (void)key_of_its_own(victim_, i);
  // Something must leave, and what the TPM gives as its copy is none.
  meddler_->empty_answer_once(cc::kContextSave);
  EXPECT_EQ(run(liar_, unlike_others(9)).code, kOurFailure);
  EXPECT_EQ(meddler_->meddled, 1U);
  expect_victim_unharmed();
  EXPECT_EQ(engine_->snapshot().objects, 3U);
  EXPECT_EQ(run(liar_, unlike_others(9)).code, 0U);
  expect_victim_unharmed();
}

TEST_P(LyingTpm, AClientsSaveWithoutAContextIsNoAnswer) {
  meddler_->empty_answer_once(cc::kContextSave);
  EXPECT_EQ(run(victim_, context_save(key_)).code, kOurFailure);
  EXPECT_EQ(meddler_->meddled, 1U);
  expect_victim_unharmed();
  expect_nothing_left_over();
}

// The TPM has put the session away, and what would bring it back is lost.
TEST_P(LyingTpm, ASessionSavedWithoutAContextIsGivenBack) {
  const auto hmac_session = session(victim_);
  meddler_->empty_answer_once(cc::kContextSave);
  EXPECT_EQ(run(victim_, context_save(hmac_session)).code, kOurFailure);
  EXPECT_EQ(run(victim_, context_save(hmac_session)).code, 0x000B0910U);
  expect_victim_unharmed();
  expect_nothing_left_over();
  EXPECT_EQ(sessions_held(), 1U);
}

TEST_P(LyingTpm, APolicySessionSavedWithoutAContextIsMadeAgain) {
  meddler_->empty_answer_once(cc::kContextSave);
  EXPECT_EQ(run(victim_, context_save(policy_)).code, kOurFailure);
  expect_victim_unharmed();
  expect_nothing_left_over();
}

}  // namespace
}  // namespace tpmspace::engine
