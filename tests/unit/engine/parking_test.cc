// Policy sessions that leave the TPM when their numbers are needed, and come back when they are used, on libtpms in
// virtual time. (The same with thousands of ESYS clients: tests/integration/parking_test.py.)
#include "engine_that_parks.h"

namespace tpmspace::engine {
namespace {

class Parking : public EngineThatParks {
 protected:
  Answered ask(ConnectionId connection, const Bytes& bytes) { return run(connection, bytes); }
  // So many others that every number is needed. `ordinary`: of them.
  void push_out(int ordinary = kToGive) {
    crowd_ = open(99);
    for (int i = 0; i < ordinary; ++i) (void)session(crowd_);
    for (int i = 0; i < 64 - ordinary + 1; ++i) {
      const auto more = open(98);
      const auto one = session(more, SessionType::kPolicy);
      ASSERT_EQ(run(more, policy_command_code(one, cc::kUnseal)).code, 0U);
    }
  }

  ConnectionId crowd_ = 0;
};

TEST_F(Parking, ASessionThatLeftIsUsedAsIfNothingHadHappened) {
  const auto c = open();
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto object = sealed_with(c, policy);
  push_out();
  EXPECT_GT(parked(), 0U);
  EXPECT_TRUE(is_secret(ask(c, unseal(object, authorization(policy)))));
  // A successful use sets the policy back, here and there.
  EXPECT_EQ(ask(c, unseal(object, authorization(policy))).code, 0x99DU);
  EXPECT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  EXPECT_TRUE(is_secret(ask(c, unseal(object, authorization(policy, 0)))));
  EXPECT_EQ(ask(c, policy_get_digest(policy)).code, kReferenceH0) << "it ended with its last use";
}

TEST_F(Parking, ManyMoreThanTheChipHas) {
  std::vector<std::pair<ConnectionId, std::uint32_t>> all;
  const auto maker = open();
  const auto first = session(maker, SessionType::kPolicy);
  ASSERT_EQ(ask(maker, policy_command_code(first, cc::kUnseal)).code, 0U);
  const auto object = sealed_with(maker, first);
  const auto context = ask(maker, context_save(object)).parameters;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto c = open(1 + i % 5);
    const auto one = session(c, SessionType::kPolicy);
    ASSERT_EQ(ask(c, policy_command_code(one, cc::kUnseal)).code, 0U);
    all.emplace_back(c, one);
  }
  EXPECT_GE(parked(), 300U - 64U);
  for (const auto& [c, one] : all) {
    const auto loaded = ask(c, context_load(context)).handle;
    EXPECT_TRUE(is_secret(ask(c, unseal(loaded, authorization(one)))));
  }
  for (const auto& [c, one] : all) engine_->close(c);
  engine_->close(maker);
  idle();
  EXPECT_EQ(parked(), 0U);
}

TEST_F(Parking, LooksAtIt) {
  const auto c = open();
  const auto policy = session(c, SessionType::kPolicy), fresh = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_nv_written(policy)).code, 0U);
  ASSERT_EQ(ask(c, policy_nv_written(fresh)).code, 0U);
  const auto digest = ask(c, policy_get_digest(policy)).parameters;
  push_out();
  ASSERT_TRUE(is_parked(c, policy) && is_parked(c, fresh));
  const auto before = counting_->count;
  EXPECT_EQ(ask(c, policy_get_digest(policy)).parameters, digest);
  const auto list = ask(c, get_capability(1, 0x02000000, 10)).parameters;
  EXPECT_EQ(list, Writer().u8(0).u32(1).u32(2).u32(policy).u32(fresh).take());
  EXPECT_EQ(ask(c, policy_restart(policy)).code, 0U);
  EXPECT_EQ(ask(c, policy_get_digest(policy)).parameters, Writer().tpm2b(Bytes(32)).take());
  EXPECT_EQ(ask(c, flush_context(fresh)).code, 0U);
  EXPECT_EQ(ask(c, policy_get_digest(fresh)).code, kReferenceH0);
  EXPECT_EQ(counting_->count, before) << "the TPM was not asked";
  EXPECT_EQ(ask(c, policy_nv_written(policy)).code, 0U);
  EXPECT_EQ(ask(c, policy_get_digest(policy)).parameters, digest);
}

// --- Sparing the sessions of others

// All sessions of the chip are in use, so a number is free only after someone's session has left.
TEST_F(Parking, AnOwnerBelowItsShareDoesNotWaitToSpareASessionOfAnOwnerAbove) {
  constexpr std::uint64_t kHalfAGrace = 125'000'000;
  for (int i = 0; i < 64; ++i) (void)stepped(open(1));
  const auto waited_for = [&](std::uint64_t owner) {
    const auto before = now_;
    (void)stepped(open(owner));
    return now_ - before;
  };
  EXPECT_LT(waited_for(2), kHalfAGrace);
  EXPECT_EQ(parked(), 1U);
  EXPECT_GT(waited_for(1), kHalfAGrace) << "an owner above its share spares its own sessions";
}

TEST_F(Parking, OwnersWithinTheirSharesAreSpared) {
  constexpr std::uint64_t kHalfAGrace = 125'000'000;
  for (std::uint64_t i = 0; i < 64; ++i) (void)stepped(open(1 + i % 4));
  const auto before = now_;
  (void)stepped(open(1));
  EXPECT_GT(now_ - before, kHalfAGrace);
}

// --- PCRs

TEST_F(Parking, APcrThatChangedMeanwhileIsNoticedAsByTheChip) {
  for (const std::uint32_t extended : {10U, 7U, 16U}) {
    start();
    const auto c = open(), other = open(2);
    const auto policy = session(c, SessionType::kPolicy);
    ASSERT_EQ(ask(c, policy_pcr(policy)).code, 0U);
    const auto object = sealed_with(c, policy);
    push_out();
    ASSERT_EQ(ask(other, pcr_extend(extended)).code, 0U);
    const auto used = ask(c, unseal(object, authorization(policy)));
    if (extended == 16)
      EXPECT_TRUE(is_secret(used)) << "this one does not move the counter";
    else
      EXPECT_EQ(used.code, kPcrChanged) << extended;
    EXPECT_EQ(ask(c, policy_restart(policy)).code, 0U);
    EXPECT_EQ(ask(c, policy_pcr(policy)).code, 0U);
    EXPECT_EQ(ask(c, unseal(object, authorization(policy))).code, extended == 10 ? 0x99DU : 0U);
  }
}

TEST_F(Parking, APcrThatChangedBeforeItLeftIsNoticedToo) {
  const auto c = open(), other = open(2);
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_pcr(policy)).code, 0U);
  const auto object = sealed_with(c, policy);
  ASSERT_EQ(ask(other, pcr_extend(7)).code, 0U);
  push_out();
  EXPECT_EQ(ask(c, unseal(object, authorization(policy))).code, kPcrChanged);
  EXPECT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, kPcrChanged);
}

// A private TPM does not notice such a change either, and goes on with the policy that the session has.
TEST_F(Parking, APolicyOfAPcrThatDoesNotMoveTheCounterOutlivesItsChange) {
  const auto c = open(), other = open(2);
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_pcr(policy, 16)).code, 0U);
  const auto object = sealed_with(c, policy);
  push_out(kToGive - 1);
  EXPECT_FALSE(is_parked(c, policy));
  ASSERT_EQ(ask(other, pcr_extend(16)).code, 0U);
  EXPECT_TRUE(is_secret(ask(c, unseal(object, authorization(policy)))));
  EXPECT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  EXPECT_EQ(engine_->sessions().sessions.front().rebuildable, space::Rebuildable::kYes) << "its policy was set back";
}

// --- what becomes an ordinary session

TEST_F(Parking, AStepThatCannotBeRepeatedAsksTheBank) {
  const auto c = open(1, {.terms = {.exhaustion = space::Exhaustion::kRefuse}}), crowd = open(2);
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  for (int i = 0; i < kToGive; ++i) (void)session(crowd);
  EXPECT_EQ(ask(c, policy_secret(policy)).code, kNoMoreSessions);
  EXPECT_EQ(ask(c, policy_auth_value(policy)).code, kNoMoreSessions);
  const auto object = sealed_with(c, policy);
  EXPECT_TRUE(is_secret(ask(c, unseal(object, authorization(policy))))) << "it is as it was";
  engine_->close(crowd);
  EXPECT_EQ(ask(c, policy_secret(policy)).code, 0U);
  push_out(kToGive - 1);
  EXPECT_EQ(ask(c, policy_get_digest(policy)).code, 0U);
  EXPECT_EQ(engine_->sessions().sessions.front().rebuildable, space::Rebuildable::kStep);
  EXPECT_EQ(ask(c, policy_restart(policy)).code, 0U);
  EXPECT_EQ(engine_->sessions().sessions.front().rebuildable, space::Rebuildable::kYes);
}

TEST_F(Parking, SessionsThatCannotBeRebuilt) {
  const auto c = open();
  const auto why = [&](std::uint32_t handle) {
    for (const auto& one : engine_->sessions().sessions)
      if (one.handle == handle) return one.rebuildable;
    return space::Rebuildable::kFull;
  };
  EXPECT_EQ(why(session(c)), space::Rebuildable::kNotPolicy);
  EXPECT_EQ(why(session(c, SessionType::kTrial)), space::Rebuildable::kYes);
  const auto policy = session(c, SessionType::kPolicy);
  EXPECT_EQ(why(policy), space::Rebuildable::kYes);
  const auto key = ask(c, create_primary(kOwner)).handle;
  const auto bound = ask(c, start_session(SessionType::kPolicy, kNull, key));
  ASSERT_EQ(bound.code, 0U);
  EXPECT_EQ(why(bound.handle), space::Rebuildable::kSecret);
  const auto many = session(c, SessionType::kPolicy);
  for (std::size_t i = 0; i < space::kMaxSteps; ++i) ASSERT_EQ(ask(c, policy_password(many)).code, 0U);
  EXPECT_EQ(why(many), space::Rebuildable::kYes);
  EXPECT_EQ(ask(c, policy_password(many)).code, 0U);
  EXPECT_EQ(why(many), space::Rebuildable::kFull);
}

// Its TPMT_SYM_DEF is shorter than a block cipher's: an algorithm and a hash.
TEST_F(Parking, ASessionThatHidesParametersByXorLeavesAndComesBackAsOthersDo) {
  constexpr std::uint16_t kXor = 0x000A;
  const auto c = open();
  const auto start = command(cc::kStartAuthSession, {kNull, kNull}, {},
                             Writer().tpm2b(Bytes(16, 1)).tpm2b({}).u8(1).u16(kXor).u16(kSha256).u16(kSha256).take());
  const auto started = ask(c, start);
  ASSERT_EQ(started.code, 0U);
  const auto policy = started.handle;
  EXPECT_EQ(engine_->sessions().sessions.front().rebuildable, space::Rebuildable::kYes);
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto object = sealed_with(c, policy);
  push_out();
  ASSERT_TRUE(is_parked(c, policy));
  EXPECT_TRUE(is_secret(ask(c, unseal(object, authorization(policy)))));
}

// --- nonces

TEST_F(Parking, ACommandWithTheOldNonceNeverReachesTheTpm) {
  const auto c = open();
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kCreate)).code, 0U);
  push_out(kToGive - 1);
  ASSERT_TRUE(is_parked(c, policy));
  const auto before = counting_->count;
  const auto with = [&](std::uint32_t one, std::uint8_t attributes) { return authorization(one, attributes); };
  EXPECT_EQ(ask(c, policy_auth_value(policy)).code, kReferenceH0);
  EXPECT_EQ(ask(c, policy_secret(policy, password(), Bytes(16, 1))).code, kReferenceH0 + 1);
  const auto random = [](const Bytes& authorizations) {
    return command(cc::kGetRandom, {}, authorizations, Writer().u16(4).take());
  };
  EXPECT_EQ(ask(c, random(with(policy, 0x21))).code, kReferenceS0) << "decrypt";
  EXPECT_EQ(ask(c, command(cc::kStirRandom, {}, with(policy, 0x21), Writer().tpm2b(Bytes(4)).take())).code,
            kReferenceS0);
  // An HMAC session first, whose HMAC covers the nonce of the one that encrypts.
  const auto hmac = Writer().u32(0x02000001).u16(0).u8(1).tpm2b(Bytes(32)).take();
  const auto mine = Writer().u32(policy).u16(0).u8(0x41).u16(0).take();
  (void)hmac;
  EXPECT_EQ(counting_->count, before);
  EXPECT_EQ(ask(c, policy_secret(policy)).code, 0U) << "without a nonce it can be done";
  (void)mine;
}

// As tpm2-tss 3.2.1 does it: an HMAC with an empty key, which a TPM would not ask for.
TEST_F(Parking, AnHmacWithAnEmptyKeyIsCheckedTakenOffAndPutOnTheAnswer) {
  const auto c = open();
  const auto started = run(c, start_session(SessionType::kPolicy));
  const auto policy = started.handle;
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto object = sealed_with(c, policy);
  const UnsealWithHmac with_hmac{.object = object, .session = policy, .name = name_of(c, object)};
  push_out();
  ASSERT_GT(parked(), 0U);
  EXPECT_EQ(ask(c, with_hmac.bytes(Bytes(32, 9))).code, 0x000B09A2U) << "wrong: it is not forwarded";
  const auto response = answer_to(c, with_hmac.bytes(nonce_in(started)));
  ASSERT_TRUE(response && response->ok());
  EXPECT_EQ(UnsealWithHmac::hmac_of(*response), with_hmac.right_hmac_of(*response));

  // The client has the new nonce now: the TPM checks the next one itself.
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  EXPECT_TRUE(is_secret(ask(c, with_hmac.bytes(UnsealWithHmac::nonce_of(*response)))));
}

// --- files

TEST_F(Parking, AClientSavedOneIsParkedAndItsFileLoads) {
  const auto c = open();
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto object = sealed_with(c, policy);
  const auto object_file = ask(c, context_save(object)).parameters;
  const auto file = ask(c, context_save(policy)).parameters;
  engine_->close(c);
  push_out();
  ASSERT_TRUE(is_parked(0, policy));
  const auto next = open(), stranger = open(2);
  EXPECT_EQ(ask(next, get_capability(1, 0x03000000, 10)).parameters,
            Writer().u8(0).u32(1).u32(1).u32(0x02000000).take());
  EXPECT_EQ(ask(stranger, context_load(file)).code, 0x000B01CBU);
  EXPECT_EQ(ask(stranger, flush_context(policy)).code, 0x000B01CBU);
  const auto loaded = ask(next, context_load(file));
  EXPECT_EQ(loaded.code, 0U);
  EXPECT_EQ(loaded.handle, policy);
  EXPECT_EQ(ask(next, context_load(file)).code, 0x000B01CBU) << "once";
  const auto again = ask(next, context_load(object_file)).handle;
  EXPECT_TRUE(is_secret(ask(next, unseal(again, authorization(policy)))));
}

TEST_F(Parking, TwoFilesOfTheSameNumberGetTwo) {
  const auto make = [&] {
    const auto c = open();
    const auto policy = session(c, SessionType::kPolicy);
    EXPECT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
    auto file = ask(c, context_save(policy)).parameters;
    engine_->close(c);
    return file;
  };
  const auto one = make();
  push_out();
  engine_->close(crowd_);
  idle();
  std::vector<Bytes> files{one};
  for (int i = 0; i < 70; ++i) files.push_back(make());
  const auto c = open();
  std::set<std::uint32_t> numbers;
  for (std::size_t i = 0; i < 64; ++i) {
    const auto loaded = ask(c, context_load(files[i]));
    EXPECT_EQ(loaded.code, 0U);
    EXPECT_TRUE(numbers.insert(loaded.handle & 0xFFFFFF).second);
  }
  EXPECT_EQ(ask(c, context_load(files[64])).code, kNoMoreSessions) << "there are 64 numbers";
  for (const auto number : numbers) EXPECT_EQ(ask(c, policy_nv_written(0x03000000 | number)).code, 0U);
}

// An operator withdraws authorizations so: `tpm2_flushcontext -s` flushes each handle of the list once.
TEST_F(Parking, AfterAllThatAListNamesIsFlushedNoOldFileWorks) {
  const auto make = [&](std::uint64_t owner) {
    const auto c = open(owner);
    auto file = ask(c, context_save(stepped(c))).parameters;
    engine_->close(c);
    return file;
  };
  std::vector<Bytes> files;
  files.reserve(70);
  for (int i = 0; i < 70; ++i) files.push_back(make(1));
  const auto of_another_user = make(2);
  const auto c = open(1), other = open(2);
  const auto listed = [&] {
    const auto list = ask(c, get_capability(1, 0x03000000, 254)).parameters;
    wire::Reader in(list);
    EXPECT_EQ(in.u8(), 0) << "one page";
    (void)in.u32();
    std::vector<std::uint32_t> out(in.u32().value_or(0));
    for (auto& handle : out) handle = in.u32().value_or(0);
    return out;
  };
  const auto handles = listed();
  EXPECT_EQ(std::set<std::uint32_t>(handles.begin(), handles.end()).size(), handles.size()) << "each number once";
  EXPECT_LE(handles.size(), 64U) << "a private TPM has no more";
  for (const auto handle : handles) EXPECT_EQ(ask(c, flush_context(handle)).code, 0U);
  EXPECT_TRUE(listed().empty());
  for (const auto& file : files) EXPECT_EQ(ask(c, context_load(file)).code, 0x000B01CBU);
  EXPECT_EQ(ask(other, context_load(of_another_user)).code, 0U);
}

TEST_F(Parking, AFlushOfASessionThatTheConnectionSavedLeavesFilesOfTheSameNumber) {
  const auto earlier = open(1);
  const auto number = stepped(earlier);
  const auto file = ask(earlier, context_save(number)).parameters;
  engine_->close(earlier);
  crowd_passes();
  const auto c = open(1);
  ASSERT_EQ(stepped(c), number) << "the number is free again";
  const auto own = ask(c, context_save(number)).parameters;
  EXPECT_EQ(ask(c, flush_context(number)).code, 0U);
  EXPECT_EQ(ask(c, context_load(own)).code, 0x000B01CBU);
  EXPECT_EQ(ask(c, context_load(file)).code, 0U);
}

// --- numbers

// Its number is a session's Name, which the HMAC of another session covers (tpm-behaviour 7).
TEST_F(Parking, ANumberThatAnHmacCoversIsHad) {
  const auto c = open();
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  push_out();
  ASSERT_TRUE(is_parked(c, policy));
  engine_->close(crowd_);
  idle();
  // Number 0 is free now, and 1 as well; somebody else comes first.
  const auto hmac = session(c);
  EXPECT_NE(hmac & 0xFFFFFF, policy & 0xFFFFFF) << "the space knows that number";
  const auto audit = authorization(hmac, 0x81);
  EXPECT_EQ(ask(c, command(cc::kPolicyNvWritten, {policy}, audit, Writer().u8(1).take())).code, 0U);
  EXPECT_EQ(ask(c, policy_get_digest(policy)).code, 0U);
}

TEST_F(Parking, ANumberOfAnotherClientIsReportedGone) {
  const auto c = open(), crowd = open(2), others = open(3);
  const auto hmac = session(c);
  const auto policy = session(c, SessionType::kPolicy);
  ASSERT_EQ(ask(c, policy_command_code(policy, cc::kUnseal)).code, 0U);
  for (int i = 0; i < kToGive - 2; ++i) (void)session(crowd);
  for (int i = 0; i < 3; ++i) {
    const auto other = session(others, SessionType::kPolicy);
    ASSERT_EQ(ask(others, policy_command_code(other, cc::kUnseal)).code, 0U);
  }
  ASSERT_FALSE(is_parked(c, policy));
  EXPECT_EQ(session(crowd) & 0xFFFFFF, policy & 0xFFFFFF);
  ASSERT_TRUE(is_parked(c, policy));
  const auto before = counting_->count;
  const auto covered = command(cc::kPolicyNvWritten, {policy}, authorization(hmac, 0x81), Writer().u8(1).take());
  EXPECT_EQ(ask(c, covered).code, kReferenceH0);
  EXPECT_EQ(counting_->count, before) << "it is not sent to fail";
  EXPECT_EQ(ask(c, policy_nv_written(policy)).code, 0U) << "where nothing covers it another number will do";
  EXPECT_EQ(ask(c, covered).code, kReferenceH0) << "also when it is back";
}

// One connection may have as many as there are numbers, though all but three are somebody else's.
TEST_F(Parking, AKnownNumberIsNotGivenToTheSpaceAgain) {
  const auto crowd = open(2), c = open();
  for (int i = 0; i < kToGive; ++i) (void)session(crowd);
  std::set<std::uint32_t> numbers;
  for (int i = 0; i < 64; ++i) {
    const auto one = session(c, SessionType::kPolicy);
    EXPECT_TRUE(numbers.insert(one).second) << std::hex << one;
    ASSERT_EQ(ask(c, policy_nv_written(one)).code, 0U);
  }
  EXPECT_EQ(ask(c, start_session(SessionType::kPolicy)).code, kNoMoreSessions) << "its own limit";
  for (const auto one : numbers) EXPECT_EQ(ask(c, policy_command_code(one, cc::kUnseal)).code, 0U);
}

// --- reserved ones

TEST_F(Parking, AReservedOneStaysWhereItIs) {
  const auto c = open();
  const auto policy = session(c, SessionType::kPolicy), second = session(c);
  ASSERT_EQ(ask(c, policy_nv_written(policy)).code, 0U);
  const auto order = [&](std::uint32_t handle, bool reserved) {
    engine_->order_sessions(1, ReserveSession{handle, reserved});
    const auto step = engine_->step(now_);
    EXPECT_TRUE(step.order_done);
    EXPECT_EQ(engine_->check(), std::nullopt);
    return step.order_done ? step.order_done->code : 1;
  };
  const auto loaded_in_tpm = [&] {
    const auto list = *tpm_->transact(get_capability(1, 0x02000000, 10), 0);
    return Bytes(list.begin() + 19, list.end());
  };
  EXPECT_EQ(order(policy, true), 0U);
  EXPECT_EQ(order(second, true), 0U);
  const auto third = session(c);
  EXPECT_EQ(order(third, true), 0x903U) << "others need a place";
  EXPECT_EQ(order(0x02000030, true), 0x910U);
  push_out(kToGive - 3);
  EXPECT_FALSE(is_parked(c, policy));
  const auto others = open(3);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask(others, start_session(SessionType::kPolicy)).code, 0U);
  const auto list = loaded_in_tpm();
  const auto wanted = Writer().u32(policy).take();
  EXPECT_NE(std::search(list.begin(), list.end(), wanted.begin(), wanted.end()), list.end());
  EXPECT_EQ(ask(c, policy_get_digest(policy)).code, 0U);
  EXPECT_EQ(order(policy, false), 0U);
  EXPECT_EQ(order(third, true), 0U) << "now there is a place";
}

TEST_F(Parking, ReservedSessionsAreNotGivenAway) {
  const auto c = open(), crowd = open(2, {.terms = {.exhaustion = space::Exhaustion::kRefuse}});
  const auto mine = session(c);
  engine_->order_sessions(1, ReserveSession{mine, true});
  (void)engine_->step(now_);
  int given = 0;
  while (ask(crowd, start_session(SessionType::kHmac)).code == 0) ++given;
  EXPECT_EQ(given, kToGive - 1);
}

}  // namespace
}  // namespace tpmspace::engine
