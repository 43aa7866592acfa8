// A TPM that lost power and was started up by another program (firmware, the kernel) between two commands of clients.
// No response of the TPM says so. For any first command, its client gets a TPM's response, no client's object or
// session becomes another's, and no unowned entity stays in the TPM.
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

constexpr Rc kGone = 0x000B0910, kSessionGone = 0x000B0918, kDeadContext = 0x1DF;

class StartedUpByOthers : public EngineBehindMeddler {
 protected:
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

  // All clients leave: the TPM is as empty as before.
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

// B's entities from before the start-up.
enum class From : std::uint8_t { kNothing, kContext, kKey, kHmacSession, kPolicySession };
struct Had {
  std::uint32_t handle = 0;  // of the key or session
  Bytes context;             // of an object that it had saved itself
};

// The response for B. `saved`: everything was saved before the start-up.
using Hears = Rc (*)(StartUp how, bool saved);
constexpr Rc success(StartUp /*how*/, bool /*saved*/) {
  return 0;
}
constexpr Rc success_unless_dead(StartUp how, bool /*saved*/) {
  return is_reset(how) ? kDeadContext : 0;
}
constexpr Rc success_if_kept(StartUp how, bool saved) {
  return saved && !is_reset(how) ? 0 : kGone;
}
constexpr Rc success_if_session_kept(StartUp how, bool saved) {
  return saved && !is_reset(how) ? 0 : kSessionGone;
}
// A context that the manager holds is given out without the TPM, so a start-up is not noticed.
constexpr Rc success_if_saved(StartUp /*how*/, bool saved) {
  return saved ? 0 : kGone;
}
// A policy session is made again from its log.
constexpr Rc success_unless_reset(StartUp how, bool /*saved*/) {
  return is_reset(how) ? kGone : 0;
}
constexpr Rc success_unless_reset_of_unsaved(StartUp how, bool saved) {
  return is_reset(how) && !saved ? kGone : 0;
}

struct FirstCommand {
  const char* name;
  From from;
  Bytes (*say)(const Had& had);
  Hears hears;
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

// Authorized by an HMAC session without a secret, or in such a session for audit.
Bytes create_primary_by(std::uint32_t session) {
  return command(cc::kCreatePrimary, {kOwner}, authorization(session), creation(sensitive(), ecc_signing_template()));
}
Bytes get_random_audited_by(std::uint32_t session) {
  constexpr std::uint8_t kContinueAndAudit = 0x81;
  return command(cc::kGetRandom, {}, authorization(session, kContinueAndAudit), Writer().u16(8).take());
}

constexpr FirstCommand kFirstCommands[] = {
    // It makes or asks for something new.
    {"CreatePrimary", From::kNothing, [](const Had&) { return create_primary(kOwner, ecc_signing_template()); },
     success},
    {"LoadExternal", From::kNothing, [](const Had&) { return load_external(); }, success},
    {"HashSequenceStart", From::kNothing, [](const Had&) { return hash_start(); }, success},
    {"StartAuthSession", From::kNothing, [](const Had&) { return start_session(SessionType::kHmac); }, success},
    {"GetRandom", From::kNothing, [](const Had&) { return get_random(); }, success},
    {"AListOfHandles", From::kNothing, [](const Had&) { return get_capability(1, 0x80000000, 8); }, success},
    // It loads, or saves.
    {"ContextLoadOfItsOwn", From::kContext, [](const Had& had) { return context_load(had.context); },
     success_unless_dead},
    {"ContextSaveOfAKey", From::kKey, [](const Had& had) { return context_save(had.handle); }, success_if_saved},
    {"ContextSaveOfASession", From::kHmacSession, [](const Had& had) { return context_save(had.handle); },
     success_if_saved},
    {"ContextSaveOfAPolicySession", From::kPolicySession, [](const Had& had) { return context_save(had.handle); },
     success_unless_reset_of_unsaved},
    // It names an object.
    {"ReadPublic", From::kKey, [](const Had& had) { return read_public(had.handle); }, success_if_kept},
    {"Sign", From::kKey, [](const Had& had) { return sign(had.handle); }, success_if_kept},
    // It names a session.
    {"CreatePrimaryBySession", From::kHmacSession, [](const Had& had) { return create_primary_by(had.handle); },
     success_if_session_kept},
    {"GetRandomInAuditSession", From::kHmacSession, [](const Had& had) { return get_random_audited_by(had.handle); },
     success_if_session_kept},
    {"PolicyGetDigest", From::kPolicySession, [](const Had& had) { return policy_get_digest(had.handle); },
     success_unless_reset},
    // It lets go of something.
    {"FlushOfAKey", From::kKey, [](const Had& had) { return flush_context(had.handle); }, success},
    {"FlushOfASession", From::kHmacSession, [](const Had& had) { return flush_context(had.handle); }, success},
    {"FlushOfAPolicySession", From::kPolicySession, [](const Had& had) { return flush_context(had.handle); }, success},
};

using Case = std::tuple<StartUp, FirstCommand, bool>;
class FirstCommandAfter : public StartedUpByOthers, public testing::WithParamInterface<Case> {
 protected:
  Had get_ready(From from) {
    Had had;
    switch (from) {
      case From::kNothing:
        break;
      case From::kContext: {
        const auto key = key_of_its_own(b_, 3);
        had.context = run(b_, context_save(key)).parameters;
        EXPECT_EQ(run(b_, flush_context(key)).code, 0U);
        break;
      }
      case From::kKey:
        had.handle = key_of_its_own(b_, 3);
        break;
      case From::kHmacSession:
        had.handle = session(b_);
        break;
      case From::kPolicySession:
        had.handle = session(b_, SessionType::kPolicy);
        EXPECT_EQ(run(b_, policy_command_code(had.handle, cc::kUnseal)).code, 0U);
        break;
    }
    return had;
  }

  // A context of B loads if it would with a TPM. Entities that B flushed are gone.
  void expect_after_effects(const Had& had, const Bytes& first, const Answered& answer, StartUp how) {
    const auto code = wire::read_header(first)->code;
    if (code == cc::kContextSave && answer.code == 0) {
      const auto loaded = run(b_, context_load(answer.parameters));
      EXPECT_EQ(loaded.code == 0, !is_reset(how));
      if (loaded.code == 0) {
        EXPECT_EQ(run(b_, flush_context(loaded.handle)).code, 0U);
      }
    }
    if (code == cc::kFlushContext) {
      EXPECT_NE(run(b_, flush_context(had.handle)).code, 0U);
    }
  }
};

TEST_P(FirstCommandAfter, GetsATpmsResponseAndHarmsNoClient) {
  const auto& [how, first, was_idle] = GetParam();
  const auto mine = key_of_its_own(a_, 1), other = key_of_its_own(a_, 2);
  const auto session_of_a = session(a_, SessionType::kPolicy);
  ASSERT_EQ(run(a_, policy_command_code(session_of_a, cc::kUnseal)).code, 0U);
  const auto hmac_session = session(a_);
  const auto public_area = public_of(a_, mine);
  const Had had = get_ready(first.from);
  if (was_idle) rest_for(10 * kSecond);
  start_up(how);

  const Bytes said = first.say(had);
  const auto answer = run(b_, said);
  EXPECT_EQ(answer.code, first.hears(how, was_idle));
  if (answer.handle != 0 && wire::is_transient(answer.handle)) {
    EXPECT_NE(public_of(b_, answer.handle), public_area);
    if (wire::read_header(said)->code == cc::kCreatePrimary) {
      EXPECT_EQ(run(b_, sign(answer.handle)).code, 0U);
    }
  }

  // A context saved in time is usable after a restart or resume, and none after a reset.
  const Rc expected = was_idle && !is_reset(how) ? 0U : kGone;
  for (const auto key : {mine, other}) EXPECT_EQ(run(a_, sign(key)).code, expected);
  if (expected == 0) {
    EXPECT_EQ(public_of(a_, mine), public_area);
  }
  // A policy session is made again from its log.
  EXPECT_EQ(run(a_, policy_get_digest(session_of_a)).code, is_reset(how) ? kGone : 0U);
  EXPECT_EQ(run(a_, context_save(hmac_session)).code, expected);
  EXPECT_EQ(run(a_, flush_context(hmac_session)).code == 0U, expected == 0U);
  expect_after_effects(had, said, answer, how);
  // And later objects are still there.
  if (answer.handle != 0 && wire::is_transient(answer.handle) && said != hash_start()) {
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

// --- entities that we move

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

TEST_F(StartedUpByOthers, AnObjectMadeAfterAResetIsKeptWhenTheResetIsNoticed) {
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

// Found by a world: a command that cannot change the sequence made its client's copy void.
TEST_F(StartedUpByOthers, ASequenceThatItsClientSavedSurvivesACommandThatIsNotForIt) {
  const auto sequence = run(a_, hash_start()).handle;
  EXPECT_EQ(run(a_, context_save(sequence)).code, 0U);
  EXPECT_EQ(run(a_, policy_get_digest(sequence)).code, wire::rc::kValue | 0x100U) << "it is no session";
  start_up(StartUp::kResume);
  EXPECT_EQ(run(a_, sequence_update(sequence, Bytes(3, 1))).code, 0U);
  start_up(StartUp::kResume);
  EXPECT_EQ(run(a_, sequence_update(sequence, Bytes(3, 1))).code, kGone) << "it has changed since";
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

// --- a command with two objects, of which only the first is still there

// For an owner without tries, the manager loads an object only to learn whether it counts wrong authorizations. The
// loading shows that the TPM was restarted, and that another object of the same command is gone.
class StartedUpBeforeTheTries : public StartedUpByOthers {
 protected:
  void SetUp() override {
    EngineBehindMeddler::SetUp();
    engine_.reset();
    space::Chip chip = chip_;
    chip.can_be_suspended = true;
    chip.lockout_counter = chip.max_auth_fail;  // no owner has a try left, as far as the engine knows
    engine_ =
        std::make_unique<Engine>(*meddler_, wire::CommandTable::builtin(), chip, Config{}, [this] { return now_; });
    a_ = open(1, {.shares_tries = true});
    b_ = open(2);
    // Only the TPM knows that the saved object counts no wrong authorizations.
    const auto key = run(a_, create_primary(kOwner));
    const auto context = run(a_, context_save(key.handle)).parameters;
    ASSERT_EQ(run(a_, flush_context(key.handle)).code, 0U);
    loaded_ = key_of_its_own(a_, 1);
    saved_ = run(a_, context_load(context)).handle;
    (void)key_of_its_own(b_, 2);
    ASSERT_EQ(run(a_, read_public(loaded_)).code, 0U);
    const auto last = key_of_its_own(b_, 3);  // evicts the object that has a context
    ASSERT_EQ(run(b_, flush_context(last)).code, 0U);
    start_up(StartUp::kRestart);
  }

  std::uint32_t loaded_ = 0, saved_ = 0;
};

TEST_F(StartedUpBeforeTheTries, TheSecondObjectIsReportedAsGone) {
  const Bytes no_auth = Writer().tpm2b({}).take();
  EXPECT_EQ(run(a_, command(cc::kObjectChangeAuth, {saved_, loaded_}, password(), no_auth)).code, kGone + 1);
  EXPECT_FALSE(public_of(a_, saved_).empty());
  expect_nothing_left_over();
}

TEST_F(StartedUpBeforeTheTries, TheSecondAuthorizedObjectIsReportedAsGone) {
  const Bytes scheme = Writer().tpm2b({}).u16(kAlgNull).take();
  EXPECT_EQ(run(a_, command(cc::kCertify, {saved_, loaded_}, join({password(), password()}), scheme)).code, kGone + 1);
  EXPECT_FALSE(public_of(a_, saved_).empty());
  expect_nothing_left_over();
}

}  // namespace
}  // namespace tpmspace::engine
