// Global session exhaustion, on libtpms in virtual time: waiting, service, reclaiming, and no confusion of clients by
// it.
#include <map>
#include <set>

#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

constexpr Time kOneSecond = 1'000'000'000;
constexpr Rc kNoSession = wire::from_manager(wire::rc::kSessionHandles);

space::SpaceLimits on_terms(space::Exhaustion exhaustion) {
  space::SpaceLimits out;
  out.terms.exhaustion = exhaustion;
  return out;
}

class Sessions : public EngineOnLibtpms {
 protected:
  void submit(ConnectionId connection, const Bytes& bytes) {
    asked_[connection] = wire::read_header(bytes)->code;
    (void)engine_->submit(connection, *wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096), 0, now_);
  }
  // One step; its response and the taken sessions are noted.
  bool step() {
    const auto done = engine_->step(now_);
    EXPECT_EQ(engine_->check(), std::nullopt) << *engine_->check();
    if (done.account)
      for (const auto& taken : done.account->reclaimed) taken_.push_back(taken);
    wake_ = done.wake;
    if (done.reply) {
      const auto header = wire::read_header(done.reply->response);
      answers_[done.reply->connection] = header->code;
      if (header->code == 0 && asked_[done.reply->connection] == cc::kStartAuthSession)
        handles_[done.reply->connection] = *wire::Reader(ByteView(done.reply->response).subspan(10)).u32();
    }
    return !done.idle;
  }
  // As far as it goes without time passing.
  void settle() {
    while (step()) {
    }
  }
  // Until then, awake whenever the engine wants to be.
  void let_pass(Time span) {
    const Time end = now_ + span;
    for (settle(); wake_ && *wake_ <= end; settle()) now_ = std::max(now_, *wake_);
    now_ = std::max(now_, end);
    settle();
  }
  [[nodiscard]] std::optional<Rc> answer_of(ConnectionId connection) const {
    const auto found = answers_.find(connection);
    return found == answers_.end() ? std::nullopt : std::optional(found->second);
  }
  void ask_for_session(ConnectionId connection) {
    answers_.erase(connection);
    submit(connection, start_session(SessionType::kHmac));
    settle();
  }
  // As a private TPM would count them.
  std::uint32_t in_tpm() {
    std::uint32_t out = 0;
    for (const std::uint32_t range : {0x02000000U, 0x03000000U}) {
      const auto answer = tpm_->transact(get_capability(1, range, 254), 0);
      out += *wire::Reader(ByteView(*answer).subspan(15)).u32();
    }
    return out;
  }

  std::map<ConnectionId, wire::CommandCode> asked_;
  std::map<ConnectionId, Rc> answers_;
  std::map<ConnectionId, std::uint32_t> handles_;
  std::vector<observe::Reclaimed> taken_;
  std::optional<Time> wake_;
};

// An HMAC session without a secret is used.
Bytes audited_by(std::uint32_t session) {
  return command(cc::kGetRandom, {}, authorization(session, 0x81), Writer().u16(4).take());
}

// --- waiting

TEST_F(Sessions, AWaitingClientBlocksNoOther) {
  const auto hoarder = open(1), waiter = open(2, on_terms(space::Exhaustion::kWait)), other = open(3);
  for (int i = 0; i < kToGive; ++i) (void)session(hoarder);
  ask_for_session(waiter);
  EXPECT_EQ(answer_of(waiter), std::nullopt);
  EXPECT_EQ(engine_->snapshot().waiting_for_session, 1U);
  submit(other, get_random());
  settle();
  EXPECT_EQ(answer_of(other), 0U);
  submit(hoarder, flush_context(0x02000007));
  settle();
  EXPECT_EQ(answer_of(waiter), 0U) << "it is served as soon as there is one";
  EXPECT_EQ(handles_[waiter], 0x02000007U);
}

TEST_F(Sessions, WaitingEndsAtTheDeadlineAndTakesNoSession) {
  const auto hoarder = open(1), waiter = open(2, on_terms(space::Exhaustion::kWait));
  for (int i = 0; i < kToGive; ++i) (void)session(hoarder);
  ask_for_session(waiter);
  let_pass(29 * kOneSecond);
  EXPECT_EQ(answer_of(waiter), std::nullopt);
  let_pass(2 * kOneSecond);
  EXPECT_EQ(answer_of(waiter), kNoSession);
  EXPECT_TRUE(taken_.empty());
  submit(waiter, get_random());
  settle();
  EXPECT_EQ(answer_of(waiter), 0U) << "it goes on";
}

TEST_F(Sessions, ClosingGivesUpTheWholeSpace) {
  const auto hoarder = open(1), waiter = open(2, on_terms(space::Exhaustion::kClose));
  (void)primary(waiter);
  (void)session(waiter);
  for (int i = 0; i < kToGive - 1; ++i) (void)session(hoarder);
  ask_for_session(waiter);
  let_pass(31 * kOneSecond);
  EXPECT_EQ(answer_of(waiter), kNoSession);
  submit(waiter, get_random());
  settle();
  EXPECT_EQ(answer_of(waiter), kNoSession) << "until it is closed";
  EXPECT_EQ(engine_->snapshot().objects, 0U);
  EXPECT_EQ(engine_->snapshot().sessions, static_cast<std::uint32_t>(kToGive) - 1);
}

TEST_F(Sessions, CancelAndDisconnectEndTheWait) {
  const auto hoarder = open(1), a = open(2), b = open(3);
  for (int i = 0; i < kToGive; ++i) (void)session(hoarder);
  const auto parsed = *wire::Command::parse(start_session(SessionType::kHmac), wire::CommandTable::builtin(), 4096);
  const Ticket ticket = engine_->submit(a, parsed, 0, now_);
  ask_for_session(b);
  EXPECT_TRUE(engine_->cancel(ticket));
  engine_->close(b);
  settle();
  EXPECT_EQ(answer_of(a), wire::from_manager(wire::rc::kCanceled));
  EXPECT_EQ(engine_->snapshot().waiting_for_session, 0U);
  let_pass(60 * kOneSecond);
  EXPECT_TRUE(taken_.empty()) << "for nobody";
}

// --- the banker

TEST_F(Sessions, TwoThatHoldOneAndNeedTwoMoreNeverStopEachOther) {
  auto never_gives_back = on_terms(space::Exhaustion::kWait);
  never_gives_back.terms.claim = 0;
  const auto rest = open(9, never_gives_back);
  for (int i = 0; i < kToGive - 4; ++i) (void)session(rest);
  const auto a = open(1, on_terms(space::Exhaustion::kWait)), b = open(2, on_terms(space::Exhaustion::kWait));
  ask_for_session(a);
  ask_for_session(b);
  EXPECT_EQ(answer_of(a), 0U);
  EXPECT_EQ(answer_of(b), 0U);
  ask_for_session(a);
  ask_for_session(b);
  EXPECT_EQ(answer_of(a), 0U);
  EXPECT_EQ(answer_of(b), std::nullopt) << "the last one is kept for who can finish with it";
  ask_for_session(a);
  EXPECT_EQ(answer_of(a), 0U);
  for (const auto handle : {0x02000039U, 0x0200003BU, 0x0200003CU}) {
    submit(a, flush_context(handle));
    settle();
    EXPECT_EQ(answer_of(a), 0U) << std::hex << handle;
  }
  EXPECT_EQ(answer_of(b), 0U);
}

TEST_F(Sessions, TwoHundredClientsAllFinish) {
  std::map<ConnectionId, int> done;  // commands
  for (std::uint64_t i = 0; i < 200; ++i) done[open(1 + i % 7)] = 0;
  for (const auto& [client, count] : done) submit(client, start_session(SessionType::kPolicy));
  std::size_t finished = 0;
  for (int i = 0; finished < 200 && i < 100000; ++i) {
    answers_.clear();
    if (!step() && wake_) now_ = std::max(now_, *wake_);
    for (const auto& [client, code] : answers_) {
      ASSERT_EQ(code, 0U);
      if (++done[client] <= 3)
        submit(client, policy_get_digest(handles_[client]));
      else
        ++finished, engine_->close(client);
    }
    answers_.clear();
  }
  EXPECT_EQ(finished, 200U);
  EXPECT_TRUE(taken_.empty()) << "nobody had to lose one";
}

// --- a hoarder loses their own sessions

TEST_F(Sessions, AHoarderThatTouchesItsSessionsLosesOneWithinTheTenure) {
  std::vector<ConnectionId> hoarder;
  hoarder.reserve(100);
  for (int i = 0; i < 100; ++i) hoarder.push_back(open(1));
  const auto idle = open(2), victim = open(2);
  ask_for_session(idle);
  for (const auto connection : hoarder) ask_for_session(connection);
  std::map<std::uint32_t, ConnectionId> hoard;
  for (const auto connection : hoarder)
    if (answer_of(connection) == 0U) hoard[handles_[connection]] = connection;
  EXPECT_GE(hoard.size(), 50U);
  EXPECT_LT(hoard.size(), hoarder.size()) << "the others wait, and gain nothing by it";

  const Time asked = now_;
  ask_for_session(victim);
  ASSERT_EQ(answer_of(victim), std::nullopt) << "there is none left for it";
  while (!answer_of(victim) && now_ < asked + 60 * kOneSecond) {
    for (const auto& [handle, connection] : hoard) {
      submit(connection, command(cc::kGetRandom, {}, authorization(handle, 0x81), Writer().u16(4).take()));
      settle();
    }
    let_pass(kOneSecond);
  }
  EXPECT_EQ(answer_of(victim), 0U);
  EXPECT_LE(now_, asked + 12 * kOneSecond);
  ASSERT_FALSE(taken_.empty());
  for (const auto& taken : taken_) {
    EXPECT_EQ(taken.owner, 1U);
    EXPECT_EQ(taken.by.why, observe::Taker::Why::kShare);
    EXPECT_EQ(taken.by.waiter, 2U);
  }
  submit(idle, flush_context(handles_[idle]));
  settle();
  EXPECT_EQ(answer_of(idle), 0U) << "what the victim had idle is still there";
}

TEST_F(Sessions, AHoarderInOneConnectionDoesNotGetBackItsSession) {
  const auto hoarder = open(1, space::SpaceLimits{.objects = 10, .sessions = 200}), victim = open(2);
  for (int i = 0; i < kToGive; ++i) (void)session(hoarder);
  ask_for_session(hoarder);
  ask_for_session(victim);
  let_pass(11 * kOneSecond);
  EXPECT_EQ(answer_of(victim), 0U);
  EXPECT_EQ(answer_of(hoarder), std::nullopt);
}

TEST_F(Sessions, WhileNoOwnerIsAboveTheShareOnlyIdleSessionsAreTaken) {
  const auto a = open(1), b = open(2), c = open(3);
  for (int i = 0; i < 30; ++i) (void)session(a), (void)session(b);
  (void)session(a);
  const Time full = now_;
  // With a third owner both are above their share; a fourth of the hoarders' own kind changes nothing.
  ask_for_session(c);
  let_pass(9 * kOneSecond);
  EXPECT_EQ(answer_of(c), std::nullopt);
  let_pass(2 * kOneSecond);
  EXPECT_EQ(answer_of(c), 0U);
  EXPECT_LE(now_, full + 12 * kOneSecond);
  EXPECT_EQ(taken_.size(), 1U);
}

TEST_F(Sessions, AbandonedSessionsGoFirst) {
  for (int i = 0; i < 64; ++i) {
    const auto c = open(1 + static_cast<std::uint64_t>(i) / 16);
    const auto handle = session(c);
    EXPECT_EQ(run(c, context_save(handle)).code, 0U);
    engine_->close(c);
  }
  EXPECT_EQ(engine_->snapshot().sessions, 32U) << "half of the chip's in all";
  const auto newcomer = open(77);
  ask_for_session(newcomer);
  let_pass(11 * kOneSecond);
  EXPECT_EQ(answer_of(newcomer), 0U);
}

// --- no confusion

// Byte by byte: a client whose session was reclaimed never meets another session under the old handle.
TEST_F(Sessions, ATakenHandleNeverStandsForAnotherSession) {
  const auto victim = open(1), thief = open(2);
  const auto mine = session(victim);
  EXPECT_EQ(mine, 0x02000000U);
  for (int i = 0; i < kToGive - 1; ++i) (void)session(victim);
  ask_for_session(thief);
  let_pass(11 * kOneSecond);
  ASSERT_EQ(answer_of(thief), 0U);
  ASSERT_EQ(handles_[thief], 0x02000000U) << "the thief has the victim's number";

  // Everything else of the victim goes, so that every number but the thief's is free; then the thief's as well.
  for (std::uint32_t i = 1; i < kToGive; ++i) EXPECT_EQ(run(victim, flush_context(0x02000000 + i)).code, 0U);
  EXPECT_EQ(run(thief, flush_context(0x02000000)).code, 0U);
  EXPECT_EQ(session(victim, SessionType::kPolicy), 0x03000001U) << "not 0, which is the lowest";
  EXPECT_EQ(session(victim, SessionType::kHmac), 0x02000002U);
  // The old handle: refused by the manager, before the TPM, in any use.
  const auto before = counting_->count;
  EXPECT_EQ(run(victim, policy_get_digest(mine)).code, 0x000B0910U);
  EXPECT_EQ(run(victim, command(cc::kGetRandom, {}, authorization(mine), Writer().u16(4).take())).code, 0x000B0918U);
  EXPECT_EQ(run(victim, context_save(mine)).code, 0x000B0910U);
  EXPECT_EQ(counting_->count, before);
  // Until the client lets go of it.
  EXPECT_EQ(run(victim, flush_context(mine)).code, 0U);
  idle();
  EXPECT_EQ(session(victim), 0x02000000U);
  EXPECT_EQ(in_tpm(), 3U) << "nothing of ours stays to keep numbers occupied";
}

// Another program of a shared chip may flush our session. The session's client was not told, so the handle means no
// other session, however we find out.
TEST_F(Sessions, ASessionFlushedByAnotherProgramIsNotGivenAgainUntold) {
  const auto victim = open(1), other = open(2);
  const auto flush_behind_our_back = [&](std::uint32_t handle) {
    ASSERT_EQ(wire::read_header(*tpm_->transact(flush_context(handle), 0))->code, 0U);
  };
  const auto lost = [&](std::uint32_t handle) {
    EXPECT_NE(session(victim), handle);
    EXPECT_EQ(run(victim, audited_by(handle)).code, 0x000B0918U);
    EXPECT_EQ(run(victim, flush_context(handle)).code, 0U);
  };
  // The TPM gives its number to another client.
  const auto given = session(victim);
  flush_behind_our_back(given);
  (void)run(other, start_session(SessionType::kHmac));
  idle();
  lost(given);
  // The lists are compared, because of another one of that client.
  const auto told = session(victim), listed = session(victim);
  flush_behind_our_back(told);
  flush_behind_our_back(listed);
  EXPECT_EQ(run(victim, audited_by(told)).code, 0x000B0918U);
  lost(listed);
}

TEST_F(Sessions, ASessionThatARefreshFindsGoneIsNotGivenAgainUntold) {
  start(255);
  const auto victim = open(1), other = open(2);
  const auto mine = session(victim);
  std::vector<std::uint32_t> others;
  others.reserve(5);
  for (int i = 0; i < 5; ++i) others.push_back(session(other));
  ASSERT_EQ(wire::read_header(*tpm_->transact(flush_context(mine), 0))->code, 0U);
  for (int i = 0; i < 300; ++i)
    ASSERT_EQ(run(other, audited_by(others[static_cast<std::size_t>(i) % others.size()])).code, 0U);
  EXPECT_NE(session(victim), mine);
  EXPECT_EQ(run(victim, audited_by(mine)).code, 0x000B0918U);
}

TEST_F(Sessions, SeventyReclaimsInOneConnectionWithoutAFlush) {
  const auto victim = open(1), hoarder = open(1), thief = open(2);
  std::vector<std::uint32_t> hoard;
  hoard.reserve(kToGive - 1);
  for (int i = 0; i < kToGive - 1; ++i) hoard.push_back(session(hoarder));
  for (int round = 0; round < 70; ++round) {
    const auto mine = session(victim);
    for (const auto one : hoard) ASSERT_EQ(run(hoarder, audited_by(one)).code, 0U);
    ask_for_session(thief);
    let_pass(11 * kOneSecond);
    ASSERT_EQ(answer_of(thief), 0U) << round;
    ASSERT_EQ(taken_.size(), static_cast<std::size_t>(round) + 1);
    ASSERT_EQ(taken_.back().handle, mine);
    ASSERT_EQ(taken_.back().by.why, observe::Taker::Why::kLease);
    ASSERT_EQ(taken_.back().by.waiter, 2U);
    ASSERT_EQ(run(victim, policy_get_digest(mine)).code, 0x000B0910U);
    ASSERT_EQ(run(thief, flush_context(handles_[thief])).code, 0U);
    let_pass(11 * kOneSecond);  // until the thief's place is kept no longer
  }
}

// A reclaimed session cannot cost its client a wrong authorization.
TEST_F(Sessions, ATakenSessionUsedOnAProtectedKeyCostsNoTry) {
  const auto victim = open(1), thief = open(2);
  const auto key = run(victim, create_primary(kOwner, ecc_signing_template(0x00040072))).handle;
  ASSERT_EQ(key, 0x80000000U);
  const auto mine = session(victim);
  for (int i = 0; i < kToGive - 1; ++i) (void)session(victim);
  ask_for_session(thief);
  let_pass(11 * kOneSecond);
  ASSERT_EQ(answer_of(thief), 0U);
  const auto lockout_counter = [&] {
    const auto answer = run(thief, get_capability(6, 0x20E, 1)).parameters;  // TPM_PT_LOCKOUT_COUNTER
    return *wire::Reader(ByteView(answer).subspan(13)).u32();
  };
  const auto before = lockout_counter();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(victim, sign(key, authorization(mine))).code, 0x000B0918U);
  EXPECT_EQ(lockout_counter(), before);
}

TEST_F(Sessions, ATakenSessionUsedOnAPinIndexCostsNoCount) {
  constexpr std::uint32_t kIndex = 0x01500020;
  constexpr std::uint32_t kPinFail = 0x02060082;  // PIN_FAIL, NO_DA, owner writes and reads, its own PIN reads
  const auto victim = open(1), thief = open(2);
  const auto public_area = Writer().u32(kIndex).u16(kSha256).u32(kPinFail).u16(0).u16(8).take();
  ASSERT_EQ(run(thief, command(cc::kNVDefineSpace, {kOwner}, password(),
                               Writer().tpm2b(Bytes{'p', 'i', 'n'}).tpm2b(public_area).take()))
                .code,
            0U);
  const auto no_tries_of_three = Writer().u32(0).u32(3).take();
  ASSERT_EQ(
      run(thief, command(cc::kNVWrite, {kOwner, kIndex}, password(), Writer().tpm2b(no_tries_of_three).u16(0).take()))
          .code,
      0U);
  const auto mine = session(victim);
  for (int i = 0; i < kToGive - 1; ++i) (void)session(victim);
  ask_for_session(thief);
  let_pass(11 * kOneSecond);
  ASSERT_EQ(answer_of(thief), 0U);
  const auto read = [&](std::uint32_t by, ByteView authorizations) {
    return command(cc::kNVRead, {by, kIndex}, authorizations, Writer().u16(8).u16(0).take());
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(victim, read(kIndex, authorization(mine))).code, 0x000B0918U);
  const auto counted = run(thief, read(kOwner, password()));
  ASSERT_EQ(counted.code, 0U);
  EXPECT_TRUE(wire::same_bytes(ByteView(counted.parameters).subspan(2), no_tries_of_three));
}

// --- the context gap of libtpms, 65535, for real

TEST_F(Sessions, AnIdleSessionSurvivesTwoHundredThousandSavesByOthers) {
  const auto idle_client = open(1), saver = open(2), busy = open(3);
  const auto idle_session = session(idle_client, SessionType::kPolicy);
  const auto in_file = session(saver, SessionType::kPolicy);
  const auto blob = run(saver, context_save(in_file)).parameters;
  std::vector<std::uint32_t> sessions;
  sessions.reserve(4);
  for (int i = 0; i < 4; ++i) sessions.push_back(session(busy, SessionType::kPolicy));
  std::uint64_t saves = 0;
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    saves += code == cc::kContextSave ? 1U : 0U;
    return std::nullopt;
  };
  for (std::size_t i = 0; saves < 200'000; ++i)
    ASSERT_EQ(run(busy, policy_get_digest(sessions[i % sessions.size()])).code, 0U) << saves;
  EXPECT_EQ(run(idle_client, policy_get_digest(idle_session)).code, 0U);
  EXPECT_EQ(run(saver, context_load(blob)).handle, in_file) << "the file is good although the context was refreshed";
  EXPECT_EQ(run(saver, policy_get_digest(in_file)).code, 0U);
}

}  // namespace
}  // namespace tpmspace::engine
