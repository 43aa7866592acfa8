// PIN Fail indices, on libtpms: a client without permission to try an index spends none of its tries.
#include <utility>

#include "engine_that_parks.h"

namespace tpmspace::engine {
namespace {

using wire::Numbers;

constexpr Rc kKeptOut = 0x000B0149;
constexpr std::uint32_t kPinIndex = 0x01500020, kOtherPinIndex = 0x01500021;
// NO_DA, OWNERREAD, AUTHREAD, POLICYREAD, OWNERWRITE; the first is a PIN Fail index.
constexpr std::uint32_t kPinFailArea = 0x020E0082, kOrdinary = 0x020E0002;
constexpr std::uint32_t kPinLimit = 4;

Bytes define(std::uint32_t index, std::uint32_t attributes, ByteView policy = {}) {
  const std::string_view right = "right";
  const auto area = Writer().u32(index).u16(kSha256).u32(attributes).tpm2b(policy).u16(8).take();
  return command(cc::kNVDefineSpace, {kOwner}, password(),
                 Writer().tpm2b(Bytes(right.begin(), right.end())).tpm2b(area).take());
}
Bytes undefine(std::uint32_t index) {
  return command(cc::kNVUndefineSpace, {kOwner, index}, password(), {});
}
Bytes write(std::uint32_t index) {
  return command(cc::kNVWrite, {kOwner, index}, password(),
                 Writer().tpm2b(Writer().u32(0).u32(kPinLimit).take()).u16(0).take());
}
Bytes read(std::uint32_t by, std::uint32_t index, ByteView authorizations) {
  return command(cc::kNVRead, {by, index}, authorizations, Writer().u16(8).u16(0).take());
}
Bytes read(std::uint32_t index, ByteView authorizations) {
  return read(index, index, authorizations);
}

class Pins : public EngineThatParks {
 protected:
  void SetUp() override {
    start();
    begin();
  }
  // The chip with enough tries that a share of them would not save the PIN.
  void begin(ByteView policy = {}) {
    root_ = open(0);
    ASSERT_EQ(run(root_, command(cc::kDictionaryAttackParameters, {kLockout}, password(),
                                 Writer().u32(32).u32(1000).u32(0).take()))
                  .code,
              0U);
    ASSERT_EQ(run(root_, define(kPinIndex, kPinFailArea, policy)).code, 0U);
    ASSERT_EQ(run(root_, write(kPinIndex)).code, 0U);
  }
  ConnectionId user(std::uint64_t owner, const Numbers& pins = {}) {
    return open(owner, {.shares_tries = true, .pins = std::make_shared<const Numbers>(pins)});
  }
  std::uint32_t count() {
    const auto answer = run(root_, read(kOwner, kPinIndex, password())).parameters;
    return *wire::Reader(ByteView(answer).subspan(2)).u32();
  }
  // It was answered here, and the TPM saw at most that index' public area.
  void expect_kept_out(ConnectionId c, const Bytes& bytes, const std::string& what) {
    EXPECT_EQ(run(c, bytes).code, kKeptOut) << what;
    EXPECT_TRUE(account_.kept_from_pin) << what;
    EXPECT_FALSE(account_.auth_failed || account_.stopped_for_lockout) << what;
    for (const auto& use : account_.tpm) EXPECT_EQ(use.code, cc::kNVReadPublic) << what;
  }
  using Codes = std::vector<wire::CommandCode>;
  Codes sent() const {
    Codes out;
    for (const auto& use : account_.tpm) out.push_back(use.code);
    return out;
  }
  Bytes digest_of(ConnectionId c, std::uint32_t session) {
    const auto digest = run(c, policy_get_digest(session)).parameters;
    return {digest.begin() + 2, digest.end()};
  }

  ConnectionId root_ = 0;
};

TEST_F(Pins, ThreeOwnersCannotUseUpTheTriesOfItsUser) {
  const auto its_user = user(9, Numbers::one(kPinIndex));
  for (std::uint64_t owner = 1; owner <= 3; ++owner) {
    const auto c = user(owner);
    for (int i = 0; i < 8; ++i) expect_kept_out(c, read(kPinIndex, kWrong), "a wrong value");
    expect_kept_out(c, read(kPinIndex, kRight), "the right one");
  }
  EXPECT_EQ(count(), 0U);
  EXPECT_EQ(run(its_user, read(kPinIndex, kRight)).code, 0U);
  EXPECT_FALSE(account_.kept_from_pin);
}

// The former behaviour, from which the other clients are kept.
TEST_F(Pins, AClientThatMayTryItMayUseItUp) {
  const auto one = user(1, Numbers::one(kPinIndex)), two = user(2, {{0x01000000, 0x01FFFFFF}});
  for (const auto c : {one, two, one, two}) EXPECT_EQ(run(c, read(kPinIndex, kWrong)).code, kBadAuth);
  EXPECT_EQ(count(), kPinLimit);
  EXPECT_NE(run(one, read(kPinIndex, kRight)).code, 0U);
}

TEST_F(Pins, EveryCommandThatTriesItsAuthorization) {
  ASSERT_EQ(run(root_, define(kOtherPinIndex, kOrdinary)).code, 0U);
  ASSERT_EQ(run(root_, write(kOtherPinIndex)).code, 0U);
  const auto c = user(1);
  const auto hmac = session(c), one = session(c, SessionType::kPolicy);
  const auto key = primary(c);
  const auto secret = Writer().u16(0).u16(0).u16(0).u32(0).take();
  const auto nv = [&](wire::CommandCode code, std::uint32_t index, ByteView parameters) {
    return command(code, {kPinIndex, index}, kWrong, parameters);
  };
  const auto of_three = [&](wire::CommandCode code, ByteView parameters) {
    return command(code, {kPinIndex, kPinIndex, one}, kWrong, parameters);
  };
  const struct {
    const char* what;
    Bytes bytes;
  } cases[] = {
      {"an HMAC session", read(kPinIndex, authorization(hmac))},
      {"for another index", read(kPinIndex, kOtherPinIndex, kWrong)},
      {"writing", nv(cc::kNVWrite, kPinIndex, Writer().tpm2b(Bytes(8)).u16(0).take())},
      {"counting", nv(cc::kNVIncrement, kPinIndex, {})},
      {"locking", nv(cc::kNVReadLock, kPinIndex, {})},
      {"certifying", command(cc::kNVCertify, {key, kPinIndex, kPinIndex}, join({password(), kWrong}),
                             Writer().tpm2b({}).u16(kAlgNull).u16(8).u16(0).take())},
      {"PolicySecret", command(cc::kPolicySecret, {kPinIndex, one}, kWrong, secret)},
      {"PolicySecret with an HMAC session", command(cc::kPolicySecret, {kPinIndex, one}, authorization(hmac), secret)},
      {"PolicyNV", of_three(cc::kPolicyNV, Writer().tpm2b(Bytes(4)).u16(0).u16(0).take())},
      {"PolicyAuthorizeNV", of_three(cc::kPolicyAuthorizeNV, {})},
      {"binding a session to it", start_session(SessionType::kHmac, kNull, kPinIndex)},
  };
  for (const auto& [what, bytes] : cases) expect_kept_out(c, bytes, what);
  EXPECT_EQ(count(), 0U);
  EXPECT_EQ(run(c, read(kOtherPinIndex, kRight)).code, 0U) << "an index of another type";
  EXPECT_EQ(run(c, read(kOwner, kPinIndex, password())).code, 0U) << "another authorization";
  EXPECT_EQ(run(c, read(0x01500029, kRight)).code, 0x18BU) << "there is none: the TPM says so";
  EXPECT_EQ(run(c, command(cc::kNVReadPublic, {kPinIndex}, {}, {})).code, 0U);
}

TEST_F(Pins, ASessionThatIsBoundToOne) {
  const auto may = user(1, Numbers::one(kPinIndex));
  const auto bound = run(may, start_session(SessionType::kHmac, kNull, kPinIndex));
  EXPECT_EQ(bound.code, 0x28BU) << "libtpms does not make one";
  EXPECT_EQ(count(), 0U);
}

TEST_F(Pins, APolicyIsATryOnlyIfItAsksForTheValue) {
  const struct {
    const char* what;
    Bytes (*step)(std::uint32_t session);
  } cases[] = {{"PolicyPassword", [](std::uint32_t on) { return policy_password(on); }},
               {"PolicyAuthValue", policy_auth_value}};
  for (const auto& [what, step] : cases) {
    start();
    const auto somebody = open(0);
    const auto wanted = session(somebody, SessionType::kPolicy);
    ASSERT_EQ(run(somebody, policy_command_code(wanted, cc::kNVRead)).code, 0U);
    begin(digest_of(somebody, wanted));
    const auto c = user(1);
    const auto one = session(c, SessionType::kPolicy);
    EXPECT_EQ(run(c, policy_command_code(one, cc::kNVRead)).code, 0U);
    EXPECT_EQ(run(c, read(kPinIndex, authorization(one))).code, 0U) << "without that step; and it is empty again";
    EXPECT_EQ(run(c, policy_command_code(one, cc::kNVRead)).code, 0U);
    EXPECT_EQ(run(c, step(one)).code, 0U);
    const auto wrong = Writer().u32(one).u16(0).u8(1).tpm2b(Bytes(5, 'x')).take();
    expect_kept_out(c, read(kPinIndex, wrong), what);
    EXPECT_EQ(run(c, policy_restart(one)).code, 0U) << "the session is as it was";
    EXPECT_EQ(run(c, policy_command_code(one, cc::kNVRead)).code, 0U);
    EXPECT_EQ(run(c, read(kPinIndex, authorization(one))).code, 0U);
    EXPECT_EQ(count(), 0U);
  }
}

// --- the known facts of an index

TEST_F(Pins, AnIndexIsAskedForOnce) {
  ASSERT_EQ(run(root_, define(kOtherPinIndex, kOrdinary)).code, 0U);
  ASSERT_EQ(run(root_, write(kOtherPinIndex)).code, 0U);
  const auto c = user(1), other = user(2);
  EXPECT_EQ(run(c, read(kOtherPinIndex, kRight)).code, 0U);
  EXPECT_EQ(sent(), (Codes{cc::kNVReadPublic, cc::kNVRead}));
  for (const auto one : {c, other}) {
    EXPECT_EQ(run(one, read(kOtherPinIndex, kRight)).code, 0U);
    EXPECT_EQ(sent(), Codes{cc::kNVRead});
  }
  expect_kept_out(c, read(kPinIndex, kRight), "asked");
  EXPECT_EQ(sent(), Codes{cc::kNVReadPublic});
  expect_kept_out(other, read(kPinIndex, kRight), "known");
  EXPECT_EQ(sent(), Codes{});
  EXPECT_EQ(run(user(3, Numbers::one(kPinIndex)), read(kPinIndex, kRight)).code, 0U);
  EXPECT_EQ(run(root_, read(kPinIndex, kRight)).code, 0U);
  EXPECT_EQ(sent(), Codes{cc::kNVRead}) << "who may try it costs nothing";
}

TEST_F(Pins, AnIndexThatIsDefinedAgainIsAnotherOne) {
  const auto c = user(1);
  for (const bool pin : {true, false, true}) {
    ASSERT_EQ(run(root_, undefine(kPinIndex)).code, 0U);
    EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, 0x18BU);
    ASSERT_EQ(run(root_, define(kPinIndex, pin ? kPinFailArea : kOrdinary)).code, 0U);
    ASSERT_EQ(run(root_, write(kPinIndex)).code, 0U);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, pin ? kKeptOut : 0U);
  }
  ASSERT_EQ(run(root_, clear()).code, 0U);
  EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, 0x18BU) << "it was the owner's";
}

// A command whose answer is lost may have been done.
TEST_F(Pins, ADefinitionWithoutAResponse) {
  ASSERT_EQ(run(root_, undefine(kPinIndex)).code, 0U);
  ASSERT_EQ(run(root_, define(kPinIndex, kOrdinary)).code, 0U);
  ASSERT_EQ(run(root_, write(kPinIndex)).code, 0U);
  const auto c = user(1);
  EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, 0U);
  ASSERT_EQ(run(root_, undefine(kPinIndex)).code, 0U);
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    if (code != cc::kNVDefineSpace) return std::nullopt;
    EXPECT_TRUE(tpm_->transact(define(kPinIndex, kPinFailArea), 0));
    EXPECT_TRUE(tpm_->transact(write(kPinIndex), 0));
    return wire::rc::kFailure;
  };
  EXPECT_NE(run(root_, define(kPinIndex, kPinFailArea)).code, 0U);
  counting_->meddle = nullptr;
  expect_kept_out(c, read(kPinIndex, kWrong), "it is there");
}

TEST_F(Pins, OnADeviceOneWrongTryAtMostGetsThrough) {
  chip_.keep_free_objects = chip_.keep_free_sessions = 1;
  engine_ =
      std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  root_ = open(0);
  for (const auto& bytes : {undefine(kPinIndex), define(kPinIndex, kOrdinary), write(kPinIndex)})
    ASSERT_TRUE(tpm_->transact(bytes, 0));
  const auto c = user(1), other = user(2);
  EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, 0U);
  for (const auto& bytes : {undefine(kPinIndex), define(kPinIndex, kPinFailArea), write(kPinIndex)})
    ASSERT_TRUE(tpm_->transact(bytes, 0)) << "past us";
  EXPECT_EQ(run(c, read(kPinIndex, kWrong)).code, kBadAuth);
  for (const auto one : {c, other, c}) expect_kept_out(one, read(kPinIndex, kWrong), "now it is known");
  EXPECT_EQ(count(), 1U);
  for (const auto& bytes : {undefine(kPinIndex), define(kPinIndex, kOrdinary), write(kPinIndex)})
    ASSERT_TRUE(tpm_->transact(bytes, 0));
  EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, 0U) << "and nobody is kept from what is none any more";
}

TEST_F(Pins, AnIndexThatTheTpmCannotReportIsNotTried) {
  const auto c = user(1);
  for (const Rc code : {Rc{0x101}, Rc{0x923}, Rc{0x922}}) {
    counting_->meddle = [&](wire::CommandCode sent) {
      EXPECT_NE(sent, cc::kNVRead);
      return sent == cc::kNVReadPublic ? std::optional(code) : std::nullopt;
    };
    const Rc answered = run(c, read(kPinIndex, kWrong)).code;
    EXPECT_EQ(wire::layer_of(answered), 11U) << answered;
    EXPECT_NE(answered, kKeptOut) << "it may be an ordinary index";
    EXPECT_NE(answered, 0x000B0922U) << "RETRY is never ours to say";
  }
  counting_->meddle = nullptr;
  EXPECT_EQ(count(), 0U);
}

TEST_F(Pins, AResetIsNoticedBeforeItIsTried) {
  const auto c = user(1);
  ASSERT_TRUE(tpm_->transact(command(cc::kShutdown, {}, {}, Writer().u16(0).take()), 0));
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(run(c, read(kPinIndex, kWrong)).code, kKeptOut);
  EXPECT_TRUE(account_.restarted != wire::Restarted::kNo);
  EXPECT_EQ(count(), 0U);
}

TEST_F(Pins, WithRestoredBooksItIsAskedAgain) {
  const auto c = user(1), may = user(2, Numbers::one(kPinIndex));
  ASSERT_EQ(run(root_, undefine(kPinIndex)).code, 0U);
  ASSERT_EQ(run(root_, define(kPinIndex, kOrdinary)).code, 0U);
  ASSERT_EQ(run(root_, write(kPinIndex)).code, 0U);
  EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, 0U);
  const auto image = engine_->save_books();
  // Another has the TPM meanwhile.
  for (const auto& bytes : {undefine(kPinIndex), define(kPinIndex, kPinFailArea), write(kPinIndex)})
    ASSERT_TRUE(tpm_->transact(bytes, 0));
  ASSERT_TRUE(engine_->restore_books(image));
  EXPECT_EQ(engine_->save_books(), image);
  expect_kept_out(c, read(kPinIndex, kWrong), "still");
  EXPECT_EQ(run(may, read(kPinIndex, kRight)).code, 0U);
}

TEST_F(Pins, ASpaceThatIsNarrowed) {
  const auto c = open(1);
  const auto hmac = session(c);
  EXPECT_EQ(run(c, read(kPinIndex, kRight)).code, 0U);
  engine_->set_limits(c, {.pins = std::make_shared<const Numbers>()});
  expect_kept_out(c, read(kPinIndex, authorization(hmac)), "its session from before");
  EXPECT_EQ(count(), 0U);
}

TEST_F(Pins, AClientWithoutTriesStillGetsTheGuardsRefusals) {
  const auto c = user(1, Numbers::one(kOtherPinIndex));
  const auto made = run(
      c, command(cc::kCreatePrimary, {kOwner}, password(), creation(sensitive(), ecc_signing_template(0x00040072))));
  ASSERT_EQ(made.code, 0U);
  for (int i = 0; i < 40; ++i) (void)run(c, sign(made.handle, kWrong));
  EXPECT_EQ(run(c, sign(made.handle, kWrong)).code, kStopped);
  expect_kept_out(c, read(kPinIndex, kRight), "not LOCKOUT: it will not end");
  now_ += 100'000 * kSecond;
  expect_kept_out(c, read(kPinIndex, kRight), "still");
}

}  // namespace
}  // namespace tpmspace::engine
