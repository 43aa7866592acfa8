// The guard against the dictionary-attack logic, on libtpms: no unprivileged owner locks the TPM for the others.
#include "engine_that_parks.h"

namespace tpmspace::engine {
namespace {

constexpr Rc kAuthFail = 0x98E, kRetry = 0x922, kLockedOut = 0x921;
constexpr std::uint32_t kCounts = 0x00040072, kDoesNot = 0x00040472;  // TPMA_OBJECT of signing keys, noDA clear and set
constexpr std::uint32_t kInterval = 1000;

// TPM2B_SENSITIVE_CREATE with the authValue "right".
Bytes with_auth(ByteView data = {}) {
  const std::string_view right = "right";
  return Writer().tpm2b(Writer().tpm2b(Bytes(right.begin(), right.end())).tpm2b(data).take()).take();
}

Bytes parameters(std::uint32_t tries, std::uint32_t interval = kInterval) {
  return command(cc::kDictionaryAttackParameters, {kLockout}, password(),
                 Writer().u32(tries).u32(interval).u32(0).take());
}
Bytes lock_reset() {
  return command(cc::kDictionaryAttackLockReset, {kLockout}, password(), {});
}
Bytes nv_define(std::uint32_t index, std::uint32_t attributes) {
  const std::string_view right = "right";
  const auto public_area = Writer().u32(index).u16(kSha256).u32(attributes).u16(0).u16(8).take();
  return command(cc::kNVDefineSpace, {kOwner}, password(),
                 Writer().tpm2b(Bytes(right.begin(), right.end())).tpm2b(public_area).take());
}
Bytes nv_write(std::uint32_t index, ByteView data) {
  return command(cc::kNVWrite, {kOwner, index}, password(), Writer().tpm2b(data).u16(0).take());
}
Bytes nv_read(std::uint32_t index, std::uint32_t by, ByteView authorizations) {
  return command(cc::kNVRead, {by, index}, authorizations, Writer().u16(8).u16(0).take());
}

class Lockout : public EngineThatParks {
 protected:
  void SetUp() override {
    start();
    begin();
  }
  void begin(std::uint32_t tries = 32) {
    root_ = open(0);
    ASSERT_EQ(ask(root_, parameters(tries)).code, 0U);
  }
  ConnectionId user(std::uint64_t owner) { return open(owner, {.shares_tries = true}); }

  // libtpms answers the first use of a counting entity with RETRY.
  Answered ask(ConnectionId c, const Bytes& bytes) {
    Answered answer = run(c, bytes);
    for (int i = 0; i < 3 && answer.code == kRetry; ++i) answer = run(c, bytes);
    return answer;
  }
  std::uint32_t key(ConnectionId c, std::uint32_t attributes = kCounts) {
    const auto made = run(
        c, command(cc::kCreatePrimary, {kOwner}, password(), creation(with_auth(), ecc_signing_template(attributes))));
    EXPECT_EQ(made.code, 0U);
    return made.handle;
  }
  // The chip's own counter, past the engine.
  std::uint32_t counter() {
    const auto answer = tpm_->transact(get_capability(6, 0x20E, 1), 0);
    return *wire::Reader(ByteView(*answer).subspan(wire::kHeaderSize + 13)).u32();
  }
  // Until it is stopped, at most 100 times; how often it got through.
  int fail(ConnectionId c, const Bytes& wrong, Rc expected = kAuthFail) {
    for (int i = 0; i < 100; ++i) {
      const auto answer = ask(c, wrong);
      if (answer.code == kStopped) return i;
      EXPECT_EQ(answer.code, expected);
      EXPECT_TRUE(account_.auth_failed);
    }
    return 100;
  }
  void use_up(ConnectionId c) { EXPECT_EQ(fail(c, sign(key(c), kWrong)), 8); }

  // The cost of the last client's command, without swapping.
  std::vector<wire::CommandCode> sent() const {
    std::vector<wire::CommandCode> out;
    for (const auto& use : account_.tpm)
      if (use.cause == observe::Cause::kClient || use.cause == observe::Cause::kProbe) out.push_back(use.code);
    return out;
  }
  using Codes = std::vector<wire::CommandCode>;

  ConnectionId root_ = 0;
};

TEST_F(Lockout, FourOwnersAtOnceDoNotLockTheChip) {
  const struct {
    std::uint32_t tries, counter;
    Rc fifth;
  } cases[] = {{3, 2, kStopped}, {32, 20, 0}};
  for (const auto& [tries, most, fifth] : cases) {
    start();
    begin(tries);
    std::vector<std::pair<ConnectionId, std::uint32_t>> all;
    for (std::uint64_t owner = 1; owner <= 5; ++owner) {
      const auto c = user(owner);
      all.emplace_back(c, key(c));
    }
    for (int round = 0; round < 12; ++round)
      for (std::size_t i = 0; i < 4; ++i) {
        const Rc code = ask(all[i].first, sign(all[i].second, kWrong)).code;
        EXPECT_TRUE(code == kAuthFail || code == kStopped) << code;
        EXPECT_EQ(account_.stopped_for_lockout, code == kStopped);
        EXPECT_EQ(account_.auth_failed, code == kAuthFail);
        EXPECT_LT(counter(), tries);
      }
    EXPECT_EQ(counter(), most);
    EXPECT_EQ(ask(all[0].first, sign(key(all[0].first, kDoesNot), kRight)).code, 0U) << "what does not count is free";
    EXPECT_EQ(ask(all[0].first, sign(all[0].second, kRight)).code, kStopped) << "nobody knows whether it is right";
    EXPECT_EQ(ask(all[4].first, sign(all[4].second, kRight)).code, fifth) << tries;
    EXPECT_EQ(ask(root_, sign(key(root_), kRight)).code, 0U) << "the last ones are the administrator's";
  }
}

TEST_F(Lockout, ConnectionsOfOneOwnerShare) {
  const auto one = user(1), same = user(1), other = user(2);
  const auto theirs = key(same), others = key(other);
  use_up(one);
  EXPECT_EQ(ask(same, sign(theirs, kRight)).code, kStopped);
  EXPECT_TRUE(account_.stopped_by_own_share);
  EXPECT_NE(account_.lockout_interval, 0U);
  EXPECT_EQ(ask(other, sign(others, kRight)).code, 0U);
}

TEST_F(Lockout, NothingHappensWhenItIsStopped) {
  const auto c = user(1);
  const auto mine = key(c);
  const auto hmac = session(c);
  use_up(c);
  const auto before = counting_->count;
  EXPECT_EQ(ask(c, sign(mine, authorization(hmac, 0))).code, kStopped);
  EXPECT_EQ(counting_->count, before);
  EXPECT_TRUE(account_.tpm.empty());
  EXPECT_EQ(ask(c, flush_context(hmac)).code, 0U) << "it is still there";
  EXPECT_EQ(ask(c, read_public(mine)).code, 0U);
  EXPECT_EQ(ask(c, sign(0x80000055, kWrong)).code, kReferenceH0) << "what is not there cannot be tried";
  EXPECT_EQ(ask(c, sign(mine, authorization(0x02000077))).code, 0x000B0984U);
}

TEST_F(Lockout, AClientInDoubtHasNoSecondShareOfTheOwnersItMayBe) {
  begin(3);
  const auto known = user(1), other = user(2);
  const auto doubtful = open(9, {.shares_tries = true, .may_be = {space::OwnerId{1}}});
  const auto key_of_known = key(known), key_of_doubtful = key(doubtful), key_of_other = key(other);
  EXPECT_EQ(ask(known, sign(key_of_known, kWrong)).code, kAuthFail) << "the one try that an owner has";
  EXPECT_EQ(ask(doubtful, sign(key_of_doubtful, kWrong)).code, kStopped) << "it may be the same user";
  EXPECT_TRUE(account_.stopped_by_own_share) << "not what all have together";
  EXPECT_EQ(ask(other, sign(key_of_other, kRight)).code, 0U) << "another user goes on";
}

TEST_F(Lockout, AFailureOfAClientInDoubtCountsForItsPossibleOwners) {
  begin(3);
  const auto known = user(1), other = user(2);
  const auto doubtful = open(9, {.shares_tries = true, .may_be = {space::OwnerId{1}}});
  const auto key_of_known = key(known), key_of_doubtful = key(doubtful), key_of_other = key(other);
  EXPECT_EQ(ask(doubtful, sign(key_of_doubtful, kWrong)).code, kAuthFail);
  EXPECT_EQ(ask(known, sign(key_of_known, kWrong)).code, kStopped);
  EXPECT_EQ(ask(other, sign(key_of_other, kRight)).code, 0U);
}

TEST_F(Lockout, FailuresAgeOut) {
  const auto c = user(1);
  const auto mine = key(c);
  use_up(c);
  now_ += kInterval * kSecond;
  EXPECT_EQ(fail(c, sign(mine, kWrong)), 1);
  now_ += std::uint64_t{3} * kInterval * kSecond;
  EXPECT_EQ(ask(c, sign(mine, kRight)).code, 0U) << "what is right costs nothing";
  EXPECT_EQ(fail(c, sign(mine, kWrong)), 3);
  EXPECT_EQ(counter(), 12U) << "its own time does not jump";
}

// --- the tried entity

TEST_F(Lockout, TheBindEntityOfASession) {
  const auto c = user(1);
  const auto counts = key(c), does_not = key(c, kDoesNot);
  const auto bound = run(c, start_session(SessionType::kHmac, kNull, counts)).handle;
  const auto harmless = run(c, start_session(SessionType::kHmac, kNull, does_not)).handle;
  EXPECT_EQ(fail(c, sign(does_not, authorization(bound))), 8);
  EXPECT_EQ(counter(), 8U);
  EXPECT_EQ(ask(c, sign(does_not, authorization(harmless))).code, kBadAuth);
  EXPECT_FALSE(account_.auth_failed);
  const auto audited = command(cc::kGetRandom, {}, authorization(bound, 0x81), Writer().u16(8).take());
  EXPECT_EQ(ask(c, audited).code, kStopped) << "also where it authorizes nothing";
  EXPECT_EQ(ask(c, sign(does_not, kRight)).code, 0U);
  // From a file it is unchanged.
  const auto file = run(c, context_save(bound)).parameters;
  const auto again = run(c, context_load(file)).handle;
  EXPECT_EQ(ask(c, sign(does_not, authorization(again))).code, kStopped);
  // The bound entity is unknown for a persistent key.
  ASSERT_EQ(run(root_, evict_control(key(root_, kDoesNot), 0x81000001)).code, 0U);
  const auto unknown = run(c, start_session(SessionType::kHmac, kNull, 0x81000001)).handle;
  EXPECT_EQ(ask(c, sign(does_not, authorization(unknown))).code, kStopped);
}

TEST_F(Lockout, PolicySecret) {
  const auto c = user(1);
  const auto counts = key(c), does_not = key(c, kDoesNot);
  const auto one = policy(c);
  const auto secret = [&](std::uint32_t of, ByteView auth) {
    return command(cc::kPolicySecret, {of, one}, auth, Writer().u16(0).u16(0).u16(0).u32(0).take());
  };
  EXPECT_EQ(fail(c, secret(counts, kWrong)), 8);
  EXPECT_EQ(ask(c, secret(counts, kRight)).code, kStopped);
  EXPECT_EQ(ask(c, secret(does_not, kWrong)).code, kBadAuth);
  EXPECT_EQ(ask(c, secret(does_not, kRight)).code, 0U);
  EXPECT_EQ(ask(c, secret(kOwner, password())).code, 0U);
}

TEST_F(Lockout, APolicySessionTriesNothingUnlessItsPolicySaysSo) {
  const auto c = user(1);
  const auto plain = stepped(c), with_value = policy(c), with_password_step = policy(c);
  ASSERT_EQ(run(c, policy_auth_value(with_value)).code, 0U);
  ASSERT_EQ(run(c, policy_password(with_password_step)).code, 0U);
  const auto digest_of = [&](std::uint32_t session) {
    const auto digest = run(c, policy_get_digest(session)).parameters;
    return Bytes(digest.begin() + 2, digest.end());
  };
  // Sealed, not noDA.
  const auto sealed = [&](std::uint32_t session) {
    Bytes area = sealed_template(digest_of(session));
    area[6] = 0;
    const Bytes secret{1, 2, 3, 4};
    const auto parent = run(c, create_primary(kOwner)).handle;
    const auto made = run(c, command(cc::kCreate, {parent}, password(), creation(with_auth(secret), area)));
    EXPECT_EQ(made.code, 0U);
    wire::Reader in(made.parameters);
    const auto private_part = *in.tpm2b(), public_part = *in.tpm2b();
    return run(c, load(parent, Writer().tpm2b(private_part).tpm2b(public_part).take())).handle;
  };
  const auto free = sealed(plain), by_value = sealed(with_value), by_password = sealed(with_password_step);
  const auto wrong = [](std::uint32_t session) {
    return Writer().u32(session).u16(0).u8(1).tpm2b(Bytes(32, 1)).take();
  };
  const auto right = [](std::uint32_t session) {
    return Writer().u32(session).u16(0).u8(0).tpm2b(Bytes{'r', 'i', 'g', 'h', 't'}).take();
  };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(c, unseal(by_password, wrong(with_password_step))).code, kAuthFail);
  EXPECT_EQ(fail(c, unseal(by_value, wrong(with_value))), 4);
  EXPECT_EQ(ask(c, unseal(by_password, wrong(with_password_step))).code, kStopped);
  EXPECT_TRUE(is_secret(ask(c, unseal(free, authorization(plain)))));
  // A policy that is set back tries nothing: the TPM reports its fault.
  EXPECT_EQ(ask(c, policy_restart(with_value)).code, 0U);
  EXPECT_EQ(ask(c, unseal(by_value, authorization(with_value))).code, 0x99DU);
  now_ += kInterval * kSecond;
  EXPECT_TRUE(is_secret(ask(c, unseal(by_password, right(with_password_step)))));
}

TEST_F(Lockout, AnUnknownObjectIsAskedAboutOnce) {
  const auto c = user(1);
  const auto counts = key(c), does_not = key(c, kDoesNot);
  const auto one = run(c, context_load(run(c, context_save(counts)).parameters)).handle;
  const auto two = run(c, context_load(run(c, context_save(does_not)).parameters)).handle;
  use_up(c);
  EXPECT_EQ(ask(c, sign(one, kRight)).code, kStopped);
  EXPECT_EQ(sent(), Codes{cc::kReadPublic});
  EXPECT_EQ(ask(c, sign(one, kRight)).code, kStopped);
  EXPECT_EQ(sent(), Codes{}) << "it is kept";
  EXPECT_EQ(ask(c, sign(two, kRight)).code, 0U);
  EXPECT_EQ(ask(c, sign(two, kRight)).code, 0U);
  EXPECT_EQ(sent(), Codes{cc::kSign});
}

TEST_F(Lockout, PersistentKeysAreAskedEachTime) {
  ASSERT_EQ(run(root_, evict_control(key(root_), 0x81000001)).code, 0U);
  ASSERT_EQ(run(root_, evict_control(key(root_, kDoesNot), 0x81000002)).code, 0U);
  const auto c = user(1);
  EXPECT_EQ(fail(c, sign(0x81000001, kWrong)), 8);
  EXPECT_EQ(sent(), Codes{cc::kReadPublic});
  EXPECT_EQ(ask(c, sign(0x81000002, kRight)).code, 0U);
  EXPECT_EQ(sent(), (Codes{cc::kReadPublic, cc::kSign}));
  EXPECT_EQ(ask(c, sign(0x81000003, kRight)).code, 0x18BU) << "there is none: the TPM says so";
  EXPECT_EQ(ask(root_, evict_control(0x81000001, 0x81000001)).code, 0U);
  ASSERT_EQ(run(root_, evict_control(key(root_, kDoesNot), 0x81000001)).code, 0U);
  EXPECT_EQ(ask(c, sign(0x81000001, kRight)).code, 0U) << "another key";
}

TEST_F(Lockout, NvIndices) {
  constexpr std::uint32_t kProtected = 0x01500020, kFree = 0x01500021;
  ASSERT_EQ(ask(root_, nv_define(kProtected, 0x00060002)).code, 0U);  // AUTHREAD, OWNERREAD, OWNERWRITE
  ASSERT_EQ(ask(root_, nv_define(kFree, 0x02060002)).code, 0U);       // and NO_DA
  for (const auto index : {kProtected, kFree}) ASSERT_EQ(ask(root_, nv_write(index, Bytes(8, 1))).code, 0U);
  const auto c = user(1);
  EXPECT_EQ(ask(c, nv_read(kFree, kFree, kWrong)).code, kBadAuth);
  EXPECT_FALSE(account_.auth_failed);
  EXPECT_EQ(fail(c, nv_read(kProtected, kProtected, kWrong)), 8);
  EXPECT_EQ(counter(), 8U);
  EXPECT_EQ(ask(c, nv_read(kProtected, kProtected, kRight)).code, kStopped);
  EXPECT_EQ(sent(), Codes{cc::kNVReadPublic});
  EXPECT_EQ(ask(c, nv_read(kProtected, kOwner, password())).code, 0U) << "another authorization";
  EXPECT_EQ(ask(c, nv_read(kFree, kFree, kRight)).code, 0U);
  EXPECT_EQ(ask(c, nv_read(0x01500029, 0x01500029, kRight)).code, 0x18BU);
}

// A PIN_FAIL index has to be NO_DA: the chip's counter stays, its own does not.
TEST_F(Lockout, APinIndex) {
  constexpr std::uint32_t kIndex = 0x01500020;
  EXPECT_EQ(ask(root_, nv_define(kIndex, 0x00060082)).code, 0x2C2U) << "without NO_DA: ATTRIBUTES";
  ASSERT_EQ(ask(root_, nv_define(kIndex, 0x02060082)).code, 0U);  // PIN_FAIL, NO_DA
  ASSERT_EQ(ask(root_, nv_write(kIndex, Writer().u32(0).u32(100).take())).code, 0U);
  const auto pin_count = [&] {
    const auto read = ask(root_, nv_read(kIndex, kOwner, password())).parameters;
    return wire::Reader(ByteView(read).subspan(2)).u32();
  };
  const auto c = user(1), other = user(2);
  const auto mine = key(c);
  EXPECT_EQ(fail(c, nv_read(kIndex, kIndex, kWrong), kBadAuth), 8);
  EXPECT_EQ(pin_count(), 8U);
  EXPECT_EQ(counter(), 0U);
  EXPECT_EQ(ask(c, sign(mine, kRight)).code, kStopped);
  EXPECT_EQ(ask(other, get_capability(6, 0x20E, 3)).code, 0U);
  EXPECT_EQ(ask(c, nv_read(kIndex, kIndex, kWrong)).code, kStopped) << "that the chip has counted none changes nothing";
  EXPECT_EQ(ask(other, nv_read(kIndex, kIndex, kRight)).code, 0U);
  EXPECT_EQ(pin_count(), 0U);
  now_ += kInterval * kSecond;
  EXPECT_EQ(ask(c, nv_read(kIndex, kIndex, kRight)).code, 0U);
  EXPECT_EQ(ask(root_, nv_read(kIndex, kIndex, kWrong)).code, kBadAuth);
  EXPECT_EQ(sent(), Codes{cc::kNVRead}) << "nobody needs to know";
}

TEST_F(Lockout, LockoutAuthItself) {
  const auto c = user(1);
  use_up(c);
  EXPECT_EQ(ask(c, command(cc::kDictionaryAttackLockReset, {kLockout}, kWrong, {})).code, kStopped);
  EXPECT_EQ(ask(root_, command(cc::kDictionaryAttackLockReset, {kLockout}, kWrong, {})).code, kAuthFail);
  EXPECT_EQ(counter(), 8U) << "not counted, but lockoutAuth is out of use";
  EXPECT_EQ(ask(root_, lock_reset()).code, kLockedOut);
}

TEST_F(Lockout, AWrongLockoutAuthTakesNoTryFromTheUsers) {
  begin(3);
  EXPECT_EQ(ask(root_, command(cc::kDictionaryAttackLockReset, {kLockout}, kWrong, {})).code, kAuthFail);
  for (const std::uint64_t owner : {1U, 2U}) {
    const auto c = user(owner);
    EXPECT_EQ(fail(c, sign(key(c), kWrong)), 1);
  }
  EXPECT_EQ(counter(), 2U);
}

// --- who

TEST_F(Lockout, ThePrivilegedAreNeverStoppedAndCountForAll) {
  const auto mine = key(root_);
  const auto c = user(1);
  const auto theirs = key(c);
  for (int i = 0; i < 23; ++i) ASSERT_EQ(ask(root_, sign(mine, kWrong)).code, kAuthFail);
  EXPECT_EQ(ask(c, sign(theirs, kRight)).code, 0U);
  EXPECT_EQ(fail(c, sign(theirs, kWrong)), 1);
  for (int i = 24; i < 32; ++i) ASSERT_EQ(ask(root_, sign(mine, kWrong)).code, kAuthFail);
  EXPECT_EQ(ask(root_, sign(mine, kWrong)).code, kLockedOut) << "the TPM's own answer";
  EXPECT_FALSE(account_.stopped_for_lockout);
  EXPECT_FALSE(account_.auth_failed);
}

TEST_F(Lockout, ASpaceThatIsNarrowed) {
  const auto c = open(1);
  const auto mine = key(c);
  for (int i = 0; i < 24; ++i) ASSERT_EQ(ask(c, sign(mine, kWrong)).code, kAuthFail);
  engine_->set_limits(c, {.shares_tries = true});
  EXPECT_EQ(ask(c, sign(mine, kRight)).code, kStopped);
}

// --- other changes in the chip

TEST_F(Lockout, AnAdministratorResetsIt) {
  const auto c = user(1);
  const auto mine = key(c);
  use_up(c);
  EXPECT_EQ(ask(root_, lock_reset()).code, 0U);
  EXPECT_EQ(sent(), Codes{cc::kDictionaryAttackLockReset});
  EXPECT_EQ(counter(), 0U);
  EXPECT_EQ(fail(c, sign(mine, kWrong)), 8);
  EXPECT_EQ(ask(root_, parameters(64)).code, 0U);
  EXPECT_EQ(fail(c, sign(mine, kWrong)), 8) << "16 of 64";
  EXPECT_EQ(ask(root_, parameters(64, 1)).code, 0U);
  now_ += 16 * kSecond;
  EXPECT_EQ(fail(c, sign(mine, kWrong)), 16);
}

TEST_F(Lockout, ClearSetsTheParametersBack) {
  const auto c = user(1);
  use_up(c);
  EXPECT_EQ(ask(root_, clear()).code, 0U);
  EXPECT_EQ(sent().back(), cc::kGetCapability);
  EXPECT_EQ(fail(c, sign(key(c), kWrong)), 1) << "of the three of a fresh TPM";
}

TEST_F(Lockout, ACounterThatAClientReadsIsTakenOver) {
  const auto c = user(1), other = user(2);
  const auto mine = key(c);
  // Beside us, through another listener of the same chip.
  ASSERT_TRUE(tpm_->transact(parameters(8), 0));
  EXPECT_EQ(ask(other, get_capability(6, 0x200, 100)).code, 0U);
  EXPECT_EQ(sent(), Codes{cc::kGetCapability});
  EXPECT_EQ(fail(c, sign(mine, kWrong)), 2);
  ASSERT_TRUE(tpm_->transact(lock_reset(), 0));
  EXPECT_EQ(ask(c, sign(mine, kRight)).code, kStopped);
  EXPECT_EQ(ask(other, get_capability(6, 0x20E, 1)).code, 0U);
  EXPECT_EQ(fail(c, sign(mine, kWrong)), 2);
}

TEST_F(Lockout, AskingForItAllTheTimeDoesNotKeepItUp) {
  const auto c = user(1), other = user(2);
  const auto mine = key(c);
  use_up(c);
  for (int i = 0; i < 10; ++i) {
    now_ += kInterval * kSecond / 10;
    ASSERT_EQ(ask(other, get_capability(6, 0x20E, 3)).code, 0U);
  }
  EXPECT_EQ(ask(c, sign(mine, kRight)).code, 0U);
}

TEST_F(Lockout, AfterAResetTheChipIsAsked) {
  const auto c = user(1);
  use_up(c);
  ASSERT_TRUE(tpm_->transact(lock_reset(), 0));
  ASSERT_TRUE(tpm_->transact(command(cc::kShutdown, {}, {}, Writer().u16(0).take()), 0));
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(ask(c, get_random()).code, 0U);
  EXPECT_EQ(sent().back(), cc::kGetCapability);
  EXPECT_EQ(fail(c, sign(key(c), kWrong)), 8);
}

// Asks again where a TPM says "later", as tpm/retry.h does.
class Patient final : public wire::Tpm {
 public:
  explicit Patient(wire::Tpm& tpm) : tpm_(tpm) {}
  Answer transact(ByteView bytes, std::uint8_t locality) override {
    auto answer = tpm_.transact(bytes, locality);
    for (int i = 0; i < 3 && answer && wire::read_header(*answer)->code == kRetry; ++i)
      answer = tpm_.transact(bytes, locality);
    return answer;
  }

 private:
  wire::Tpm& tpm_;
};

// A disorderly end is counted by the chip itself, and the command that meets it must not be one try too many.
TEST_F(Lockout, TheCostOfAPowerLossIsKnownBeforeTheNextTry) {
  begin(4);
  constexpr std::uint32_t kStored = 0x81000000;
  ASSERT_EQ(run(root_, evict_control(key(root_), kStored)).code, 0U);
  Patient patient(*tpm_);
  chip_.max_auth_fail = 4;
  engine_ =
      std::make_unique<Engine>(patient, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  EXPECT_EQ(run(user(1), sign(kStored, kWrong)).code, kAuthFail);
  EXPECT_EQ(run(user(2), sign(kStored, kWrong)).code, kAuthFail);
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(run(user(3), sign(kStored, kWrong)).code, kStopped);
  EXPECT_EQ(counter(), 3U);
  const auto root = open(0);
  EXPECT_EQ(run(root, sign(kStored, kRight)).code, 0U) << "an administrator has the last one";
  // A power loss that costs nothing is no reason to stop a client.
  ASSERT_EQ(run(root, lock_reset()).code, 0U);
  ASSERT_TRUE(tpm_->transact(command(cc::kShutdown, {}, {}, Writer().u16(0).take()), 0));
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(run(user(3), sign(kStored, kWrong)).code, kAuthFail);
  EXPECT_EQ(counter(), 1U);
}

// What cannot be asked before the TPM is started again is asked then, not taken for something that counts.
TEST_F(Lockout, APowerLossStopsNoClient) {
  const auto c = user(1);
  use_up(c);
  EXPECT_EQ(ask(c, sign(0x81000000, kWrong)).code, 0x18BU) << "there is none";
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(ask(c, sign(0x81000000, kWrong)).code, 0x18BU);
}

// On a chip with other users a failure is worth a look at what they did.
TEST_F(Lockout, OthersTryToo) {
  chip_.keep_free_objects = chip_.keep_free_sessions = 1;
  chip_.max_auth_fail = 32;
  engine_ =
      std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  const auto c = user(1);
  const auto mine = key(c);
  const auto foreign = tpm_->transact(
      command(cc::kCreatePrimary, {kOwner}, password(), creation(with_auth(), ecc_signing_template(kCounts))), 0);
  ASSERT_TRUE(foreign);
  const auto handle = *wire::Reader(ByteView(*foreign).subspan(wire::kHeaderSize)).u32();
  for (int i = 0; counter() < 23 && i < 30; ++i) ASSERT_TRUE(tpm_->transact(sign(handle, kWrong), 0));
  EXPECT_EQ(ask(c, sign(mine, kWrong)).code, kAuthFail);
  EXPECT_EQ(std::count_if(account_.tpm.begin(), account_.tpm.end(),
                          [](const auto& use) { return use.code == cc::kGetCapability; }),
            1);
  EXPECT_EQ(counter(), 24U);
  EXPECT_EQ(ask(c, sign(mine, kWrong)).code, kStopped);
}

// --- entities that do not count, and their cost

TEST_F(Lockout, OurOwnAnswersDoNotCount) {
  const auto c = user(1);
  const auto mine = key(c);
  const auto foreign = session(user(2));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ask(c, sign(mine, authorization(foreign))).code, kReferenceS0);
    EXPECT_FALSE(account_.auth_failed);
  }
  EXPECT_EQ(ask(c, sign(mine, kRight)).code, 0U);
  EXPECT_EQ(counter(), 0U);
}

TEST_F(Lockout, ParkedSessionsNeverFail) {
  const auto c = user(1);
  const auto mine = policy(c);
  ASSERT_EQ(run(c, policy_password(mine)).code, 0U);
  const auto digest = run(c, policy_get_digest(mine)).parameters;
  Bytes area = sealed_template(Bytes(digest.begin() + 2, digest.end()));
  area[6] = 0;  // not noDA
  const auto parent = run(c, create_primary(kOwner)).handle;
  const Bytes secret{1, 2, 3, 4};
  const auto made = run(c, command(cc::kCreate, {parent}, password(), creation(with_auth(secret), area)));
  wire::Reader in(made.parameters);
  const auto private_part = *in.tpm2b(), public_part = *in.tpm2b();
  const auto object = run(c, load(parent, Writer().tpm2b(private_part).tpm2b(public_part).take())).handle;
  crowd_passes();
  ASSERT_TRUE(is_parked(c, mine));
  const auto by = [&](std::string_view value) {
    return Writer().u32(mine).u16(0).u8(1).tpm2b(Bytes(value.begin(), value.end())).take();
  };
  use_up(c);
  const auto before = counting_->count;
  EXPECT_EQ(ask(c, unseal(object, by("right"))).code, kStopped);
  EXPECT_EQ(counting_->count, before) << "it was not even brought back";
  EXPECT_TRUE(is_parked(c, mine));
  EXPECT_EQ(ask(root_, lock_reset()).code, 0U);
  EXPECT_TRUE(is_secret(ask(c, unseal(object, by("right")))));
  EXPECT_EQ(account_.rebuilds, 1U);
  EXPECT_EQ(counter(), 0U);
  // With a new nonce that its client does not know, an authValue would fail: it does not get there.
  ASSERT_EQ(run(c, policy_command_code(mine, cc::kUnseal)).code, 0U);
  crowd_passes();
  ASSERT_TRUE(is_parked(c, mine));
  const Rc code = ask(c, policy_auth_value(mine)).code;
  EXPECT_EQ(wire::layer_of(code), 11U) << code;
  EXPECT_FALSE(account_.auth_failed);
  EXPECT_EQ(counter(), 0U);
}

TEST_F(Lockout, CostsNothingWhileThereAreTries) {
  const auto c = user(1);
  const auto does_not = key(c, kDoesNot);
  const auto counts = key(c);
  EXPECT_EQ(ask(c, sign(counts, kRight)).code, 0U);
  const auto bound = run(c, start_session(SessionType::kHmac, kNull, counts)).handle;
  EXPECT_EQ(sent(), Codes{cc::kStartAuthSession});
  const struct {
    Bytes bytes;
    Rc code;
  } cases[] = {{sign(counts, kRight), 0},
               {sign(counts, kWrong), kAuthFail},
               {sign(does_not, kWrong), kBadAuth},
               {sign(does_not, authorization(bound)), kAuthFail}};
  for (const auto& [bytes, code] : cases) {
    EXPECT_EQ(ask(c, bytes).code, code);
    EXPECT_EQ(sent(), Codes{cc::kSign});
  }
  EXPECT_EQ(ask(c, get_capability(6, 0x20E, 3)).code, 0U);
  EXPECT_EQ(sent(), Codes{cc::kGetCapability});
}

TEST_F(Lockout, WithRestoredBooksTheChipsCountIsTheBeginning) {
  const auto c = user(1);
  const auto counts = key(c), does_not = key(c, kDoesNot);
  const auto bound = run(c, start_session(SessionType::kHmac, kNull, counts)).handle;
  use_up(c);
  const auto image = engine_->save_books();
  for (const std::uint32_t chips : {8U, 24U}) {
    chip_.max_auth_fail = 32;
    chip_.lockout_counter = chips;
    engine_ =
        std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
    ASSERT_TRUE(engine_->restore_books(image));
    EXPECT_EQ(engine_->save_books(), image);
    if (chips == 8) {
      EXPECT_EQ(ask(c, sign(counts, kRight)).code, 0U) << "its own share begins anew";
    } else {
      EXPECT_EQ(ask(c, sign(counts, kRight)).code, kStopped);
      EXPECT_EQ(sent(), Codes{}) << "what is known of it is in the books";
      EXPECT_EQ(ask(c, sign(does_not, authorization(bound))).code, kStopped);
    }
  }
  const auto facts = tpm::bring_up(*tpm_, tpm::Kind::kEmbedded);
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->max_auth_fail, 32U);
  EXPECT_EQ(facts->lockout_counter, 8U) << "as the next tpmspaced will find it";
}

}  // namespace
}  // namespace tpmspace::engine
