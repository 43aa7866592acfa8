// A TPM that lost power and was started up by somebody else (firmware, the kernel) between two commands of clients.
// Nothing that the TPM answers says so. Whatever the first command is, its client gets what a TPM would answer,
// nobody's object or session becomes another's, and nothing stays in the TPM that nobody has.
#include "engine_behind_meddler.h"

namespace tpmspace::engine {
namespace {

enum class StartUp : std::uint8_t { kReset, kResetAfterShutdown, kRestart, kResume };
constexpr std::array kStartUps = {StartUp::kReset, StartUp::kResetAfterShutdown, StartUp::kRestart, StartUp::kResume};

constexpr const char* name_of(StartUp how) {
  switch (how) {
    case StartUp::kReset:
      return "Reset";
    case StartUp::kResetAfterShutdown:
      return "ResetAfterShutdown";
    case StartUp::kRestart:
      return "Restart";
    case StartUp::kResume:
      return "Resume";
  }
  return "";
}
constexpr bool is_reset(StartUp how) {
  return how == StartUp::kReset || how == StartUp::kResetAfterShutdown;
}

class StartedUpByOthers : public EngineBehindMeddler {
 protected:
  static constexpr Rc kGone = 0x000B0910;

  // As a device in a machine that can sleep.
  void SetUp() override {
    EngineBehindMeddler::SetUp();
    make_suspendable();
  }
  void make_suspendable(std::uint32_t keep_free = 0) {
    engine_.reset();
    space::Chip chip = chip_;
    chip.can_be_suspended = true;
    chip.keep_free_objects = chip.keep_free_sessions = keep_free;
    engine_ =
        std::make_unique<Engine>(*meddler_, wire::CommandTable::builtin(), chip, Config{}, [this] { return now_; });
    a_ = open(1);
    b_ = open(2);
  }

  void start_up(StartUp how) {
    constexpr std::uint16_t kClear = 0, kState = 1;
    const auto tell = [&](wire::CommandCode code, std::uint16_t what) {
      const auto answer = tpm_->transact(command(code, {}, {}, Writer().u16(what).take()), 0);
      ASSERT_EQ(wire::read_header(*answer)->code, 0U);
    };
    if (how != StartUp::kReset) tell(cc::kShutdown, how == StartUp::kResetAfterShutdown ? kClear : kState);
    ASSERT_TRUE(tpm_->power_cycle());
    tell(cc::kStartup, how == StartUp::kResume ? kState : kClear);
  }

  // Everybody leaves: the TPM is as empty as it was.
  void expect_nothing_left_over() {
    engine_->close(a_);
    engine_->close(b_);
    rest_for(3 * kSecond);
    EXPECT_EQ(objects_held(), 0U);
    EXPECT_EQ(sessions_held(), 0U);
    EXPECT_EQ(engine_->snapshot().objects, 0U);
  }

  ConnectionId a_ = 0, b_ = 0;
};

// --- every kind of first command

struct FirstCommand {
  const char* name;
  // What B says first, and what it must hear. `blob`: an object that it had saved itself.
  Bytes (*say)(ByteView blob);
  bool of_before = false;  // it is about something from before the start-up
};
std::ostream& operator<<(std::ostream& out, const FirstCommand& first) {
  return out << first.name;
}

Bytes load_external() {
  const Bytes usual = ecc_signing_template();
  // A point on P-256: the base point.
  constexpr std::array<std::uint8_t, 32> kX = {0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6,
                                               0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb,
                                               0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96};
  constexpr std::array<std::uint8_t, 32> kY = {0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb,
                                               0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31,
                                               0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
  Bytes area = Writer().raw(ByteView(usual).first(usual.size() - 4)).tpm2b(kX).tpm2b(kY).take();
  wire::put_u32(area, 4, 0x00040040);  // userWithAuth, sign; not made here
  return command(cc::kLoadExternal, {}, {}, Writer().u16(0).tpm2b(area).u32(kNull).take());
}

constexpr FirstCommand kFirstCommands[] = {
    {"CreatePrimary", [](ByteView) { return create_primary(kOwner, ecc_signing_template()); }},
    {"LoadExternal", [](ByteView) { return load_external(); }},
    {"HashSequenceStart", [](ByteView) { return hash_start(); }},
    {"StartAuthSession", [](ByteView) { return start_session(SessionType::kHmac); }},
    {"ContextLoadOfItsOwn", [](ByteView blob) { return context_load(blob); }, true},
    {"GetRandom", [](ByteView) { return get_random(); }},
    {"AListOfHandles", [](ByteView) { return get_capability(1, 0x80000000, 8); }},
};

using Case = std::tuple<StartUp, FirstCommand, bool>;
class FirstCommandAfter : public StartedUpByOthers, public testing::WithParamInterface<Case> {};

TEST_P(FirstCommandAfter, GetsWhatATpmWouldAnswerAndHarmsNobody) {
  const auto& [how, first, was_idle] = GetParam();
  const auto mine = key_of_its_own(a_, 1), other = key_of_its_own(a_, 2);
  const auto session_of_a = session(a_, SessionType::kPolicy);
  ASSERT_EQ(run(a_, policy_command_code(session_of_a, cc::kUnseal)).code, 0U);
  const auto hmac_session = session(a_);
  const auto public_area = public_of(a_, mine);
  const auto blob_of = key_of_its_own(b_, 3);
  const Bytes blob = run(b_, context_save(blob_of)).parameters;
  ASSERT_EQ(run(b_, flush_context(blob_of)).code, 0U);
  if (was_idle) rest_for(10 * kSecond);
  start_up(how);

  const auto answer = run(b_, first.say(blob));
  EXPECT_EQ(answer.code, first.of_before && is_reset(how) ? 0x1DFU : 0U);
  if (answer.handle != 0 && wire::is_transient(answer.handle)) {
    EXPECT_NE(public_of(b_, answer.handle), public_area);
    if (std::string_view(first.name) == "CreatePrimary") {
      EXPECT_EQ(run(b_, sign(answer.handle)).code, 0U);
    }
  }

  // What was saved in time is usable after a restart or resume, and nothing is after a reset.
  const Rc expected = was_idle && !is_reset(how) ? 0U : kGone;
  for (const auto key : {mine, other}) EXPECT_EQ(run(a_, sign(key)).code, expected);
  if (expected == 0) {
    EXPECT_EQ(public_of(a_, mine), public_area);
  }
  // A policy session is made again from its log.
  EXPECT_EQ(run(a_, policy_get_digest(session_of_a)).code, is_reset(how) ? kGone : 0U);
  EXPECT_EQ(run(a_, context_save(hmac_session)).code, expected);
  EXPECT_EQ(run(a_, flush_context(hmac_session)).code == 0U, expected == 0U);
  // And what was given out since is still there.
  if (answer.handle != 0 && wire::is_transient(answer.handle) && first.say(blob) != hash_start()) {
    EXPECT_EQ(run(b_, read_public(answer.handle)).code, 0U);
  }
  if (answer.handle != 0) {
    EXPECT_EQ(run(b_, flush_context(answer.handle)).code, 0U);
  }
  expect_nothing_left_over();
}

INSTANTIATE_TEST_SUITE_P(Power, FirstCommandAfter,
                         testing::Combine(testing::ValuesIn(kStartUps), testing::ValuesIn(kFirstCommands),
                                          testing::Bool()),
                         [](const auto& one) {
                           return std::string(name_of(std::get<0>(one.param))) + std::get<1>(one.param).name +
                                  (std::get<2>(one.param) ? "WithAllSaved" : "WithNothingSaved");
                         });

// --- what is moved by us

TEST_F(StartedUpByOthers, FourKeysInThreeSlotsAreUsableAfterAResume) {
  for (const bool was_idle : {false, true}) {
    SetUp();
    std::vector<std::uint32_t> keys;
    for (std::uint8_t i = 0; i < 4; ++i) keys.push_back(key_of_its_own(a_, i));
    if (was_idle) rest_for(kSecond);
    start_up(StartUp::kResume);
    EXPECT_EQ(run(a_, sign(keys[0])).code, 0U) << "it had been put away";
    for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(run(a_, sign(keys[i])).code, was_idle ? 0U : kGone);
    expect_nothing_left_over();
  }
}

TEST_F(StartedUpByOthers, ASaveThatMeetsItFirstDoesNotFailTheCommand) {
  for (const StartUp how : kStartUps) {
    SetUp();
    for (std::uint8_t i = 0; i < 3; ++i) (void)key_of_its_own(a_, i);
    for (int i = 0; i < 3; ++i) (void)session(a_);
    start_up(how);
    EXPECT_EQ(run(b_, unlike_others(9)).code, 0U) << name_of(how);
    EXPECT_EQ(run(b_, start_session(SessionType::kHmac)).code, 0U) << name_of(how);
    expect_nothing_left_over();
  }
}

TEST_F(StartedUpByOthers, WhatWasMadeAfterAResetIsKeptWhenTheResetIsNoticed) {
  make_suspendable(1);
  const auto old_key = key_of_its_own(a_, 1);
  rest_for(kSecond);  // it is put away
  start_up(StartUp::kReset);
  const auto new_key = key_of_its_own(b_, 2);
  const auto new_session = session(b_, SessionType::kPolicy);
  ASSERT_EQ(run(b_, policy_command_code(new_session, cc::kUnseal)).code, 0U);
  rest_for(kSecond);
  EXPECT_EQ(run(a_, sign(old_key)).code, kGone);
  EXPECT_EQ(run(b_, sign(new_key)).code, 0U);
  EXPECT_EQ(run(b_, policy_get_digest(new_session)).code, 0U);
  expect_nothing_left_over();
}

// Numbers that the client must not get are occupied by sessions of ours, and these get numbers that are free again.
TEST_F(StartedUpByOthers, ASessionIsStartedAlsoWhereNumbersAreInTheWay) {
  for (const StartUp how : kStartUps) {
    SetUp();
    std::vector<Bytes> files;
    files.reserve(3);
    for (int i = 0; i < 3; ++i) files.push_back(run(a_, context_save(session(a_))).parameters);
    const auto last = session(a_);
    start_up(how);
    EXPECT_EQ(run(a_, start_session(SessionType::kHmac)).code, 0U) << name_of(how);
    EXPECT_EQ(run(a_, policy_get_digest(last)).code == 0U, false);
    for (const Bytes& file : files) EXPECT_EQ(run(a_, context_load(file)).code == 0U, !is_reset(how)) << name_of(how);
    expect_nothing_left_over();
  }
}

TEST_F(StartedUpByOthers, APolicySessionIsMadeAgainFromItsLog) {
  const auto policy = session(a_, SessionType::kPolicy);
  ASSERT_EQ(run(a_, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto digest = run(a_, policy_get_digest(policy)).parameters;
  start_up(StartUp::kResume);
  const auto after = run(a_, policy_get_digest(policy));
  EXPECT_EQ(after.code, 0U);
  EXPECT_EQ(after.parameters, digest);
  EXPECT_EQ(account_.restarted, wire::Restarted::kKeptSaved);
  EXPECT_EQ(account_.lost_sessions, 0U);
  expect_nothing_left_over();
}

// --- saved in time

TEST_F(StartedUpByOthers, AnObjectThatIsNotUsedIsSavedOnceAndStaysLoaded) {
  const auto key = key_of_its_own(a_, 1);
  rest_for(kSecond);
  EXPECT_EQ(meddler_->sent[cc::kContextSave], 1U);
  EXPECT_EQ(engine_->snapshot().objects_loaded, 1U);
  const auto before = meddler_->sent;
  EXPECT_EQ(run(a_, sign(key)).code, 0U);
  rest_for(10 * kSecond);
  auto after = before;
  ++after[cc::kSign];
  EXPECT_EQ(meddler_->sent, after) << "nothing but the client's own command";
}

TEST_F(StartedUpByOthers, ASequenceIsNeverSavedWhileItStaysLoaded) {
  const auto sequence = run(a_, hash_start()).handle;
  rest_for(kSecond);
  EXPECT_EQ(meddler_->sent[cc::kContextSave], 0U);
  EXPECT_EQ(run(a_, sequence_update(sequence, Bytes(3, 1))).code, 0U);
  start_up(StartUp::kResume);
  EXPECT_EQ(run(a_, sequence_update(sequence, Bytes(3, 1))).code, kGone);
  expect_nothing_left_over();
}

TEST_F(StartedUpByOthers, ThreeBusyClientsHaveTheTpmForThemselves) {
  const auto c = open(3);
  const std::array<std::pair<ConnectionId, std::uint32_t>, 3> clients{
      {{a_, key_of_its_own(a_, 1)}, {b_, key_of_its_own(b_, 2)}, {c, key_of_its_own(c, 3)}}};
  const auto policy = session(c, SessionType::kPolicy);
  auto expected = meddler_->sent;
  for (int i = 0; i < 200; ++i) {
    for (const auto& [client, key] : clients) {
      EXPECT_EQ(run(client, sign(key)).code, 0U);
      EXPECT_TRUE(engine_->step(now_).idle) << "between two commands";
    }
    EXPECT_EQ(run(c, policy_get_digest(policy)).code, 0U);
    expected[cc::kSign] += 3;
    ++expected[cc::kPolicyGetDigest];
  }
  EXPECT_EQ(meddler_->sent, expected);
}

TEST_F(StartedUpByOthers, EverythingIsPutAwayBeforeTheMachineSleeps) {
  make_suspendable(1);
  const auto key = key_of_its_own(a_, 1);
  const auto sequence = run(a_, hash_start()).handle;
  ASSERT_EQ(run(a_, sequence_update(sequence, Bytes(3, 1))).code, 0U);
  const auto hmac_session = session(b_);
  engine_->prepare_for_sleep();
  const auto ticket = submit(b_, get_random());
  bool away = false, answered = false;
  for (int i = 0; i < 20 && !(away && answered); ++i) {
    const auto step = engine_->step(now_);
    away = away || step.away;
    answered = answered || (step.reply && step.reply->ticket == ticket);
  }
  EXPECT_TRUE(away && answered);
  EXPECT_EQ(objects_held() + held(0x02000000).size(), 0U);
  start_up(StartUp::kResume);
  engine_->wake_up();
  EXPECT_EQ(run(a_, sign(key)).code, 0U);
  EXPECT_EQ(run(a_, sequence_complete(sequence)).code, 0U);
  EXPECT_EQ(run(b_, context_save(hmac_session)).code, 0U);
  EXPECT_EQ(run(b_, flush_context(hmac_session)).code, 0U);
  expect_nothing_left_over();
}

TEST_F(StartedUpByOthers, AfterTheMachineSleptTheTpmIsAskedBeforeAnythingLoadedIsUsed) {
  const auto key = key_of_its_own(a_, 1);
  start_up(StartUp::kReset);
  engine_->wake_up();
  EXPECT_EQ(run(b_, start_session(SessionType::kHmac)).code, 0U);
  EXPECT_EQ(account_.restarted, wire::Restarted::kKeptNothing);
  EXPECT_EQ(account_.lost_objects, 1U);
  EXPECT_EQ(run(a_, sign(key)).code, kGone);
  expect_nothing_left_over();
}

}  // namespace
}  // namespace tpmspace::engine
