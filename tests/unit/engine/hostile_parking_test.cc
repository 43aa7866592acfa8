// Faults found by a hostile review of parking, each as the few commands that show it: clients that spin, wait, and fill
// the books, a TPM that loses an answer or has less room than it said, and untrusted images. A found fault is a test
// for ever.
#include "books/books.h"
#include "engine_that_parks.h"

namespace tpmspace::engine {
namespace {

// The fate of a command on its way.
struct Fault {
  enum class Kind : std::uint8_t { kRefused, kNotDelivered, kAnswerLost, kGone } kind = Kind::kRefused;
  Rc code = 0;  // of one that is refused

  [[nodiscard]] bool is_done() const { return kind == Kind::kAnswerLost || kind == Kind::kGone; }
};

class FaultyTpm : public wire::Tpm {
 public:
  explicit FaultyTpm(wire::Tpm& tpm) : tpm_(tpm) {}
  Answer transact(ByteView bytes, std::uint8_t locality) override {
    const auto code = wire::read_header(bytes)->code;
    if (struck || !strikes || !strikes(code)) return tpm_.transact(bytes, locality);
    struck = code;
    if (fault.kind == Fault::Kind::kRefused) return wire::error_response(fault.code);
    if (fault.is_done()) (void)tpm_.transact(bytes, locality);
    const bool gone = fault.kind == Fault::Kind::kGone;
    return tl::unexpected(Error{gone ? Error::Kind::kGone : Error::Kind::kNoAnswer, "lost"});
  }
  // Once.
  std::function<bool(wire::CommandCode)> strikes;
  Fault fault;
  std::optional<wire::CommandCode> struck;

 private:
  wire::Tpm& tpm_;
};

class HostileParking : public EngineThatParks {
 protected:
  // With few numbers: it is started very often.
  void start_on_faulty_tpm() {
    start();
    chip_.active_sessions = kFew;
    engine_.reset();
    faulty_ = std::make_unique<FaultyTpm>(*counting_);
    engine_ =
        std::make_unique<Engine>(*faulty_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  }
  void lose_answer_to(wire::CommandCode which) {
    faulty_->fault = {.kind = Fault::Kind::kAnswerLost};
    faulty_->strikes = [which](wire::CommandCode code) { return code == which; };
  }
  // Until no work is left, also after a loss.
  void recover() {
    now_ += 2'000'000'000;
    idle();
    now_ += 2'000'000'000;
  }
  // The most TPM commands that one step takes until the answer is there.
  std::uint64_t dearest_step(ConnectionId c, const Bytes& bytes) {
    (void)submit(c, bytes);
    std::uint64_t out = 0;
    for (int i = 0; i < 1000; ++i) {
      const auto before = counting_->count;
      const auto step = engine_->step(now_);
      if (step.idle && step.wake) now_ = std::max(now_, *step.wake);
      out = std::max(out, counting_->count - before);
      if (!step.reply) continue;
      EXPECT_EQ(wire::read_header(step.reply->response)->code, 0U);
      return out;
    }
    ADD_FAILURE() << "no answer";
    return out;
  }

  static constexpr std::uint32_t kFew = 8;
  std::unique_ptr<FaultyTpm> faulty_;
};

// --- clients that push others out

TEST_F(HostileParking, StartingAgainAndAgainTakesNoOtherClientsNextStep) {
  for (int i = 0; i < 64; ++i) (void)policy(open(2));
  const auto spinner = open(2), victim = open(1);
  for (const bool secret : {false, true, false, true}) {
    const auto started = run(victim, start_session(SessionType::kPolicy));
    ASSERT_EQ(run(victim, policy_pcr(started.handle)).code, 0U);
    const auto spun = policy(spinner);
    const auto next =
        secret ? policy_secret(started.handle, password(), nonce_in(started)) : policy_auth_value(started.handle);
    EXPECT_EQ(run(victim, next).code, 0U);
    EXPECT_EQ(run(victim, flush_context(started.handle)).code, 0U);
    EXPECT_EQ(run(spinner, flush_context(spun)).code, 0U);
  }
}

TEST_F(HostileParking, AnOwnerAboveTheShareLosesTheirOwnFirst) {
  const auto c = open();
  const auto one = stepped(c);
  for (int i = 0; i < 70; ++i) (void)stepped(open(2));
  EXPECT_FALSE(is_parked(c, one)) << "though it is the idlest";
  EXPECT_EQ(parked(), 7U);
}

TEST_F(HostileParking, ASessionWhoseNumberIsWantedIsSparedForAMoment) {
  const auto attacker = open(2), victim = open(1);
  const auto wanted = stepped(attacker), hmac = session(attacker);
  crowd_passes();
  ASSERT_TRUE(is_parked(attacker, wanted));
  const auto started = run(victim, start_session(SessionType::kPolicy));
  ASSERT_EQ(started.handle, wanted) << "the lowest free number";
  (void)submit(attacker, policy_nv_written(wanted, authorization(hmac, 0x81)));
  EXPECT_FALSE(engine_->step(now_).reply);
  ASSERT_FALSE(is_parked(victim, started.handle));
  (void)submit(victim, policy_secret(started.handle, password(), nonce_in(started)));
  const auto reply = engine_->step(now_).reply;
  ASSERT_TRUE(reply && reply->connection == victim);
  EXPECT_EQ(wire::read_header(reply->response)->code, 0U);
}

TEST_F(HostileParking, AClientThatWaitsForTheBankKeepsItsSession) {
  const auto crowd = open(2), victim = open(1);
  const auto held = session(crowd);
  for (int i = 1; i < kToGive; ++i) (void)session(crowd);
  const auto mine = policy(victim);
  ASSERT_EQ(run(victim, policy_pcr(mine)).code, 0U);
  const auto ticket = submit(victim, policy_auth_value(mine));
  (void)engine_->step(now_);
  ASSERT_EQ(engine_->snapshot().waiting_for_session, 1U);
  for (int i = 0; i < 4; ++i) (void)stepped(open(3));
  EXPECT_FALSE(is_parked(victim, mine));
  ASSERT_EQ(engine_->snapshot().waiting_for_session, 1U);
  (void)submit(crowd, flush_context(held));
  std::optional<Reply> reply;
  for (int i = 0; i < 50 && (!reply || reply->ticket != ticket); ++i) reply = engine_->step(now_).reply;
  ASSERT_TRUE(reply && reply->ticket == ticket);
  EXPECT_EQ(wire::read_header(reply->response)->code, 0U);
}

// --- clients that fill the books

TEST_F(HostileParking, AnOwnerMayHaveOnlySoManyThatCanBeMadeAgain) {
  constexpr std::uint32_t kLimit = space::Quota{}.parked_sessions_per_owner;
  for (std::uint32_t made = 0; made < kLimit + 30;) {
    const auto c = open();
    for (int i = 0; i < 60; ++i, ++made) {
      const auto started = answer_to(c, start_session(SessionType::kPolicy));
      ASSERT_TRUE(started && started->ok()) << made;
      const auto restarted = answer_to(c, policy_restart(started->handle()->value));
      ASSERT_TRUE(restarted && restarted->ok());
    }
  }
  const auto other = open(2);
  for (int i = 0; i < 64; ++i) (void)answer_to(other, start_session(SessionType::kPolicy));
  std::uint32_t more = 0;  // of the other one
  for (const auto& one : engine_->sessions().sessions) more += !one.parked && one.holder.owner.value == 2 ? 1U : 0U;
  EXPECT_EQ(parked() + more, kLimit + 64);
  const SessionList all = engine_->sessions(), of_other = engine_->sessions(space::Holder{{2}, {}});
  EXPECT_EQ(all.more_parked + SessionList::kMaxParked, parked()) << "the others are counted";
  EXPECT_EQ(of_other.sessions.size() + of_other.hidden_sessions, all.sessions.size() + all.more_parked);
  EXPECT_EQ(engine_->check(), std::nullopt);
}

TEST_F(HostileParking, FilesCountForTheirConnection) {
  constexpr std::uint32_t kLimit = 40;
  const auto c = open(1, {.sessions = kLimit});
  std::uint32_t made = 0;
  auto started = run(c, start_session(SessionType::kPolicy));
  for (; started.code == 0 && made < 100; started = run(c, start_session(SessionType::kPolicy))) {
    ++made;
    ASSERT_EQ(run(c, made % 2 == 0 ? policy_restart(started.handle) : policy_nv_written(started.handle)).code, 0U);
    ASSERT_EQ(run(c, context_save(started.handle)).code, 0U);
    if (made % 25 == 0) crowd_passes();
  }
  EXPECT_EQ(started.code, kNoMoreSessions);
  EXPECT_EQ(made, kLimit);
  // HR_ACTIVE, HR_ACTIVE_AVAIL.
  const auto properties = run(c, get_capability(6, 0x205, 2)).parameters;
  EXPECT_EQ(properties, Writer().u8(1).u32(6).u32(2).u32(0x205).u32(made).u32(0x206).u32(0).take());
  EXPECT_EQ(run(c, flush_context(0x03000000)).code, 0U);
  EXPECT_EQ(run(c, start_session(SessionType::kPolicy)).code, 0U);
}

TEST_F(HostileParking, AStartIsPrecededByAFewOthersOnly) {
  const auto c = open(2);
  for (int i = 0; i < 60; ++i) (void)stepped(c);
  crowd_passes();
  ASSERT_EQ(parked(), 60U);
  EXPECT_LT(dearest_step(c, start_session(SessionType::kHmac)), 20U);
  EXPECT_EQ(run(c, get_capability(1, 0x02000000, 200)).parameters.size(), 9U + 61 * 4);
}

// Under its own number, with all lower ones free, and the longest log.
TEST_F(HostileParking, TheDearestStepHasAnEnd) {
  const auto c = open(2);
  const auto hmac = session(c);
  constexpr std::size_t kLower = 58;
  for (std::size_t i = 0; i < kLower; ++i) (void)stepped(c);
  const auto one = policy(c);
  for (std::size_t i = 1; i < space::kMaxSteps; ++i) ASSERT_EQ(run(c, policy_pcr(one)).code, 0U);
  crowd_passes();
  ASSERT_TRUE(is_parked(c, one));
  const auto spent = dearest_step(c, policy_password(one, authorization(hmac, 0x81)));
  EXPECT_GT(spent, 2 * kLower + space::kMaxSteps) << "a start and a save for each number, and every step";
  EXPECT_LT(spent, 2 * kLower + space::kMaxSteps + 10);
}

// --- numbers

TEST_F(HostileParking, TheNumberOfAClientsFileIsNotGivenAgain) {
  const auto c = open();
  const auto one = stepped(c);
  const auto file = run(c, context_save(one)).parameters;
  crowd_passes();
  ASSERT_EQ(parked(), 1U);
  EXPECT_NE(policy(c), one);
  EXPECT_EQ(run(c, context_load(file)).handle, one);
}

TEST_F(HostileParking, NorTheNumberOfAFileWhoseSessionIsBackUnderAnotherNumber) {
  const auto c = open(), other = open(2);
  const auto one = stepped(c);
  crowd_passes();
  ASSERT_TRUE(is_parked(c, one));
  const auto in_its_place = session(other);
  ASSERT_EQ(run(c, policy_nv_written(one)).code, 0U);
  const auto file = run(c, context_save(one)).parameters;
  ASSERT_EQ(run(other, flush_context(in_its_place)).code, 0U);
  EXPECT_NE(policy(c), one);
  EXPECT_EQ(run(c, context_load(file)).handle, one);
}

TEST_F(HostileParking, AFlushMeansTheFileOfItsOwnConnection) {
  const auto saved = [&](ConnectionId c) {
    const auto one = stepped(c);
    const auto file = run(c, context_save(one)).parameters;
    crowd_passes();
    return std::pair{one, file};
  };
  const auto a = open(), b = open();
  const auto [first, first_file] = saved(a);
  const auto [second, second_file] = saved(b);
  ASSERT_EQ(first, second);
  EXPECT_EQ(run(a, flush_context(first)).code, 0U);
  EXPECT_EQ(run(a, context_load(first_file)).code, 0x000B01CBU);
  EXPECT_EQ(run(b, context_load(second_file)).handle, second);
}

TEST_F(HostileParking, ASessionIsSavedUnderItsClientsNumber) {
  const auto c = open();
  const auto one = policy(c);
  ASSERT_EQ(run(c, policy_pcr(one)).code, 0U);
  for (const bool changed : {false, true}) {
    crowd_passes();
    (void)stepped(open(2));  // it has the number now
    ASSERT_TRUE(is_parked(c, one));
    if (changed) {
      ASSERT_EQ(run(open(2), pcr_extend(7)).code, 0U);
    }
    const auto saved = run(c, context_save(one));
    ASSERT_EQ(saved.code, 0U) << changed;
    EXPECT_EQ(*wire::Reader(ByteView(saved.parameters).subspan(8)).u32(), one);
    EXPECT_EQ(run(c, context_load(saved.parameters)).handle, one);
    EXPECT_EQ(run(c, policy_nv_written(one)).code, changed ? kPcrChanged : 0U);
  }
}

TEST_F(HostileParking, ARefusedCommandChangesNothing) {
  const auto c = open(), ordinary = open(2);
  const auto hmac = session(c), one = stepped(c);
  const auto object = sealed_with(c, one);
  crowd_passes();
  ASSERT_TRUE(is_parked(c, one));
  ASSERT_EQ(session(ordinary) & 0xFFFFFF, one & 0xFFFFFF);
  ASSERT_TRUE(is_secret(run(c, unseal(object, authorization(one)))));  // its client has the new nonce
  ASSERT_EQ(run(c, policy_nv_written(one)).code, 0U);
  EXPECT_EQ(run(c, policy_nv_written(one, authorization(hmac, 0x81))).code, kReferenceH0);
  EXPECT_EQ(run(c, policy_auth_value(one)).code, 0U);
}

TEST_F(HostileParking, AWrongTypeOctetIsAnsweredAsByTheTpm) {
  const auto c = open();
  const auto one = stepped(c);
  const auto wrong = 0x02000000U | (one & 0xFFFFFF);
  const auto answer = run(c, policy_get_digest(wrong)).code;
  EXPECT_NE(answer, 0U);
  crowd_passes();
  ASSERT_TRUE(is_parked(c, one));
  EXPECT_EQ(run(c, policy_get_digest(wrong)).code, answer);
}

// --- reserved sessions, trials, nonces, hierarchies

TEST_F(HostileParking, AReservedOneThatIsSetBackStaysWhereItIs) {
  const auto c = open();
  const auto one = policy(c);
  ASSERT_EQ(run(c, policy_secret(one)).code, 0U);
  engine_->order_sessions(1, ReserveSession{one, true});
  ASSERT_EQ(engine_->step(now_).order_done->code, 0U);
  EXPECT_EQ(run(c, policy_restart(one)).code, 0U);
  (void)crowd();
  EXPECT_FALSE(is_parked(c, one));
  Engine next(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  EXPECT_TRUE(next.restore_books(engine_->save_books()));
  EXPECT_EQ(next.check(), std::nullopt);
}

TEST_F(HostileParking, ATrialNeedsNoNonceAndNoPcr) {
  const auto c = open();
  const auto trial = session(c, SessionType::kTrial);
  ASSERT_EQ(run(c, policy_pcr(trial, 10, Bytes(32, 1))).code, 0U);
  (void)crowd();
  ASSERT_TRUE(is_parked(c, trial));
  ASSERT_EQ(run(open(2), pcr_extend(10)).code, 0U);
  EXPECT_EQ(run(c, policy_auth_value(trial)).code, 0U);
  (void)crowd();
  ASSERT_TRUE(is_parked(c, trial));
  EXPECT_EQ(run(c, policy_secret(trial, password(), Bytes(32, 1))).code, 0U);
}

TEST_F(HostileParking, AClearLeavesThem) {
  const auto c = open();
  const auto one = stepped(c);
  (void)crowd();
  ASSERT_TRUE(is_parked(c, one));
  ASSERT_EQ(run(c, clear()).code, 0U);
  EXPECT_EQ(run(c, policy_nv_written(one)).code, 0U);
}

TEST_F(HostileParking, AnAnswerThatIsNotDeliveredLeavesTheNonceThatItsClientHas) {
  const auto c = open();
  const auto one = stepped(c);
  const auto object = sealed_with(c, one);
  (void)crowd();
  ASSERT_TRUE(is_parked(c, one));
  const auto ticket = submit(c, unseal(object, authorization(one)));
  bool abandoned = false;
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    if (code == cc::kUnseal) abandoned = engine_->gate().abandon(ticket);
    return std::nullopt;
  };
  idle();
  ASSERT_TRUE(abandoned);
  counting_->meddle = nullptr;
  EXPECT_EQ(run(c, policy_auth_value(one)).code, kReferenceH0);
}

TEST_F(HostileParking, AnEmptyKeysHmacIsRightInEveryHash) {
  const std::pair<std::uint8_t, const EVP_MD*> hashes[] = {
      {0x04, EVP_sha1()}, {0x0B, EVP_sha256()}, {0x0C, EVP_sha384()}, {0x0D, EVP_sha512()}};
  for (const auto& [id, hash] : hashes)
    for (const std::uint8_t attributes : {std::uint8_t{1}, std::uint8_t{0}}) {
      const auto c = open();
      Bytes start = start_session(SessionType::kPolicy);
      start.back() = id;
      const auto started = run(c, start);
      ASSERT_EQ(started.code, 0U);
      ASSERT_EQ(run(c, policy_command_code(started.handle, cc::kUnseal)).code, 0U);
      const auto object = sealed_with(c, started.handle, id);
      const UnsealWithHmac with_hmac{.object = object,
                                     .session = started.handle,
                                     .name = name_of(c, object),
                                     .hash = hash,
                                     .attributes = attributes};
      crowd_passes();
      ASSERT_TRUE(is_parked(c, started.handle));
      const auto response = answer_to(c, with_hmac.bytes(nonce_in(started)));
      ASSERT_TRUE(response && response->ok()) << unsigned{id} << " " << unsigned{attributes};
      EXPECT_EQ(UnsealWithHmac::hmac_of(*response), with_hmac.right_hmac_of(*response));
      engine_->close(c);
    }
}

// --- a TPM that is busy, full, or loses answers

TEST_F(HostileParking, ABusyTpmMakesNoRightHmacWrong) {
  const auto c = open();
  const auto started = run(c, start_session(SessionType::kPolicy));
  ASSERT_EQ(run(c, policy_command_code(started.handle, cc::kUnseal)).code, 0U);
  const auto object = sealed_with(c, started.handle);
  const UnsealWithHmac with_hmac{.object = object, .session = started.handle, .name = name_of(c, object)};
  (void)crowd();
  ASSERT_TRUE(is_parked(c, started.handle));
  bool asked = false;
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    return code == cc::kReadPublic && !std::exchange(asked, true) ? std::optional(wire::rc::kRetry) : std::nullopt;
  };
  EXPECT_EQ(run(c, with_hmac.bytes(nonce_in(started))).code, 0x000B0903U);
  EXPECT_TRUE(asked);
  EXPECT_TRUE(is_secret(run(c, with_hmac.bytes(nonce_in(started))))) << "it can be sent again";
}

TEST_F(HostileParking, NumbersThatAnotherProgramHasAreDoneWithout) {
  for (int i = 0; i < 2; ++i) {
    const auto started = *tpm_->transact(start_session(SessionType::kHmac), 0);
    const auto saved = *tpm_->transact(context_save(*wire::Reader(ByteView(started).subspan(10)).u32()), 0);
    ASSERT_EQ(wire::read_header(saved)->code, 0U);
  }
  (void)crowd(62);
  ASSERT_EQ(parked(), 0U);
  EXPECT_EQ(run(open(), start_session(SessionType::kPolicy)).code, 0U);
  EXPECT_EQ(parked(), 1U);
}

TEST_F(HostileParking, OneThatWillNotLeaveDoesNotKeepTheOthers) {
  const auto c = open();
  const auto one = policy(c);
  ASSERT_EQ(run(c, policy_pcr(one)).code, 0U);
  (void)crowd(63);
  int asked = 0;
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    if (code != cc::kPCRRead) return std::nullopt;
    ++asked;
    return 0x908;
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(open(3), start_session(SessionType::kPolicy)).code, 0U);
  EXPECT_GT(asked, 0);
  EXPECT_FALSE(is_parked(c, one));
  EXPECT_EQ(parked(), 5U);
}

TEST_F(HostileParking, AFillerMayMeetTheEndOfTheGap) {
  const auto others = open(3), c = open(2);
  for (int i = 0; i < 5; ++i) (void)session(others);  // more than can be loaded: one is the oldest
  for (int i = 0; i < 5; ++i) (void)stepped(c);
  crowd_passes();
  ASSERT_EQ(parked(), 5U);
  wire::CommandCode last = 0;
  int closed = 0;
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    const bool of_filler = code == cc::kContextSave && last == cc::kStartAuthSession;
    last = code;
    return of_filler && closed++ == 0 ? std::optional(wire::rc::kContextGap) : std::nullopt;
  };
  EXPECT_EQ(run(c, start_session(SessionType::kHmac)).code, 0U);
  EXPECT_GT(closed, 1) << "and again for the others";
}

// The probe of a session that leaves is a step of its policy.
TEST_F(HostileParking, ALostResponseToAProbeLeavesNoWrongPolicy) {
  start_on_faulty_tpm();
  const auto c = open();
  const auto one = policy(c);
  ASSERT_EQ(run(c, policy_pcr(one)).code, 0U);
  (void)crowd(kFew - 1);
  lose_answer_to(cc::kPolicyPCR);
  (void)run(open(2), start_session(SessionType::kPolicy));
  ASSERT_TRUE(faulty_->struck);
  EXPECT_EQ(run(c, policy_get_digest(one)).code, kReferenceH0);
}

TEST_F(HostileParking, ALostResponseToALoadLosesNoSession) {
  start_on_faulty_tpm();
  const auto c = open();
  const auto one = stepped(c);
  const auto digest = run(c, policy_get_digest(one)).parameters;
  (void)crowd(kFew - 1);
  lose_answer_to(cc::kContextLoad);
  (void)run(open(2), start_session(SessionType::kPolicy));  // for which that one is loaded, to be parked
  ASSERT_TRUE(faulty_->struck);
  recover();
  EXPECT_NE(policy(c), one);
  EXPECT_EQ(run(c, policy_get_digest(one)).parameters, digest);
}

TEST_F(HostileParking, OneThatIsDeadWhenItShouldLeaveLeavesATombstone) {
  const auto c = open();
  const auto one = stepped(c);
  (void)crowd(63);
  ASSERT_EQ(wire::read_header(*tpm_->transact(flush_context(one), 0))->code, 0U);  // another program
  (void)run(open(2), start_session(SessionType::kPolicy));
  (void)run(open(2), start_session(SessionType::kPolicy));
  EXPECT_NE(policy(c), one) << "its client was not told";
  EXPECT_EQ(run(c, policy_nv_written(one)).code, kReferenceH0);
}

// A fault at every command while a session leaves and comes back: then the session is as its client was told, or gone.
TEST_F(HostileParking, AFaultAnywhereLosesNoStepAndAddsNone) {
  using Kind = Fault::Kind;
  const Fault faults[] = {{Kind::kNotDelivered, 0}, {Kind::kAnswerLost, 0},  {Kind::kGone, 0},
                          {Kind::kRefused, 0x922},  {Kind::kRefused, 0x101}, {Kind::kRefused, 0x904},
                          {Kind::kRefused, 0x910}};
  for (const Fault& fault : faults)
    for (int at = 1;; ++at) {
      start_on_faulty_tpm();
      const auto c = open();
      const auto one = policy(c), other = policy(c);
      for (const auto each : {one, other}) ASSERT_EQ(run(c, policy_pcr(each)).code, 0U);
      const auto before = run(c, policy_get_digest(one)).parameters;
      ASSERT_EQ(run(c, policy_nv_written(other)).code, 0U);
      const auto after = run(c, policy_get_digest(other)).parameters;
      (void)crowd(kFew - 2);
      faulty_->fault = fault;
      int count = 0;
      faulty_->strikes = [&](wire::CommandCode) { return ++count == at; };
      for (int i = 0; i < 2; ++i) (void)run(open(3), start_session(SessionType::kPolicy));
      const auto used = run(c, policy_nv_written(one));
      faulty_->strikes = nullptr;
      if (!faulty_->struck) {
        EXPECT_GT(at, 10) << "it left, and came back";
        break;
      }
      SCOPED_TRACE(testing::Message() << "fault " << (&fault - faults) << " at " << at << ", command " << std::hex
                                      << *faulty_->struck << "; then the step was answered " << used.code);
      recover();
      const auto now = run(c, policy_get_digest(one));
      const bool own = faulty_->struck == cc::kPolicyNvWritten;
      if (now.code == kReferenceH0) {
        const bool is_a_step = faulty_->struck == cc::kPolicyPCR;  // possibly executed
        EXPECT_TRUE(fault.kind == Kind::kGone || (fault.kind != Kind::kRefused && is_a_step)) << "for nothing";
      } else {
        const bool done = used.code == 0 || (own && now.parameters != before);
        EXPECT_EQ(now.parameters, done ? after : before);
      }
      EXPECT_EQ(run(open(4), start_session(SessionType::kPolicy)).code, 0U);
    }
}

// --- images

TEST_F(HostileParking, ATrialIsStillOneInAnImage) {
  const auto c = open();
  const auto trial = session(c, SessionType::kTrial);
  ASSERT_EQ(run(c, policy_pcr(trial, 10, Bytes(32, 1))).code, 0U);
  (void)crowd();
  ASSERT_TRUE(is_parked(c, trial));
  const auto image = engine_->save_books();
  engine_ =
      std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  ASSERT_TRUE(engine_->restore_books(image));
  EXPECT_EQ(run(c, policy_auth_value(trial)).code, 0U);
}

TEST_F(HostileParking, AnImageIsJudged) {
  const auto image_of = [](space::PolicyLog log, std::uint32_t handle = 0x03000000) {
    space::Books books;
    space::Session session;
    session.handle = handle;
    session.client = wire::ClientHandle{handle};
    session.kind = space::SessionKind::kPolicy;
    session.owner = space::OwnerId{1};
    session.space = space::open_space(books, space::OwnerId{1}, {});
    session.log = std::move(log);
    space::add_parked(books, std::move(session));
    return space::encode(books);
  };
  const auto accepted = [&](const Bytes& image) {
    Engine next(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
    return next.restore_books(image);
  };
  const space::PolicyLog right = space::log_of_start(
      *wire::Command::parse(start_session(SessionType::kPolicy), wire::CommandTable::builtin(), 4096));
  ASSERT_TRUE(accepted(image_of(right)));
  auto wrong = right;
  wrong.start = Bytes(5);
  EXPECT_FALSE(accepted(image_of(wrong))) << "no StartAuthSession";
  wrong = right;
  wrong.hash = 0x000C;
  EXPECT_FALSE(accepted(image_of(wrong))) << "another hash than it was started with";
  wrong = right;
  wrong.steps.push_back({.code = 0xDEAD, .parameters = {}, .key_context = {}, .key = 0});
  EXPECT_FALSE(accepted(image_of(wrong))) << "no step of a policy";
  EXPECT_FALSE(accepted(image_of(right, 0x03FFFFFF))) << "a number that no session can have";
}

}  // namespace
}  // namespace tpmspace::engine
