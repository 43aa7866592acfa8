// The engine's list of sessions, and an administrator's flush.
#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

class SessionListTest : public EngineOnLibtpms {
 protected:
  std::vector<SessionState> states() {
    std::vector<SessionState> out;
    for (const auto& session : engine_->sessions().sessions) out.push_back(session.state);
    return out;
  }
  // Everything to its end; the order's outcome.
  std::optional<OrderDone> flush(const SessionOrder& selection) {
    engine_->order_sessions(7, selection);
    std::optional<OrderDone> out;
    for (Step step; !step.idle;) {
      step = engine_->step(now_);
      EXPECT_EQ(engine_->check(), std::nullopt);
      if (step.order_done) out = step.order_done;
    }
    EXPECT_TRUE(out && out->order == 7);
    return out;
  }
};

TEST_F(SessionListTest, HasEachKindAndState) {
  EXPECT_EQ(engine_->sessions(), SessionList{});
  space::SpaceLimits endless;
  endless.terms.lease = space::SessionTerms::kEndless;
  const auto one = open(1), other = open(2, endless);
  const auto hmac = session(one), policy = session(one, SessionType::kPolicy),
             trial = session(other, SessionType::kTrial);
  const SessionList list = engine_->sessions();
  ASSERT_EQ(list.sessions.size(), 3U);
  EXPECT_EQ(list.sessions[0].handle, hmac);
  EXPECT_EQ(list.sessions[1].handle, policy);
  EXPECT_EQ(list.sessions[2].handle, trial);
  EXPECT_EQ(list.sessions[0].kind, space::SessionKind::kHmac);
  EXPECT_EQ(list.sessions[1].kind, space::SessionKind::kPolicy);
  EXPECT_EQ(list.sessions[2].kind, space::SessionKind::kTrial);
  EXPECT_EQ(list.sessions[2].holder.owner.value, 2U);
  EXPECT_EQ(list.sessions[2].connection, other);
  EXPECT_EQ(list.sessions[2].lease, space::SessionTerms::kEndless);
  EXPECT_GE(list.sessions[1].started_at, list.sessions[0].started_at);
  EXPECT_EQ(run(one, context_save(hmac)).code, 0U);
  using enum SessionState;
  EXPECT_EQ(states(), (std::vector{kClientSaved, kLoaded, kLoaded}));
  (void)session(other);
  (void)session(other);
  EXPECT_EQ(states(), (std::vector{kClientSaved, kSaved, kLoaded, kLoaded, kLoaded}));
  engine_->close(one);
  EXPECT_EQ(states(), (std::vector{kAbandoned, kLoaded, kLoaded, kLoaded}));
  EXPECT_EQ(engine_->sessions().sessions[0].connection, 0U);
}

TEST_F(SessionListTest, NamesSomeWaitersAndCountsTheOthers) {
  const auto hoarder = open(1);
  for (int i = 0; i < kToGive; ++i) (void)session(hoarder);
  for (std::size_t i = 0; i < SessionList::kMaxWaiting + 5; ++i) {
    const auto command = wire::Command::parse(start_session(SessionType::kHmac), wire::CommandTable::builtin(), 4096);
    (void)engine_->submit(open(2), *command, 0, now_);
  }
  while (engine_->sessions().more_waiting < 5) ASSERT_FALSE(engine_->step(now_).idle);
  const SessionList list = engine_->sessions();
  EXPECT_EQ(list.waiting.size(), SessionList::kMaxWaiting);
  EXPECT_EQ(list.waiting[0].holder.owner.value, 2U);
  EXPECT_EQ(list.waiting[0].deadline, list.waiting[0].since + 30'000'000'000);
}

TEST_F(SessionListTest, AUserIsToldOfItsOwnAndHowManyOthersThereAre) {
  const auto mine = open(1), others = open(2), secluded = open(1, {.part = {.user = 7, .connection = 0}});
  (void)session(mine);
  (void)session(others);
  (void)session(others);
  (void)session(secluded);
  const auto list = engine_->sessions(space::Holder{{1}, {}});
  ASSERT_EQ(list.sessions.size(), 1U);
  EXPECT_EQ(list.sessions[0].connection, mine);
  EXPECT_EQ(list.hidden_sessions, 3U);
  EXPECT_EQ(engine_->sessions().hidden_sessions, 0U);
}

// The list is made on request only, and its turn is that of its payer: a flood of requests delays its sender.
TEST_F(SessionListTest, AListTakesItsTurnAmongCommandsAndTheRequesterPays) {
  const auto victim = open(1);
  constexpr std::uint64_t kFlood = 50;
  for (std::uint64_t i = 1; i <= kFlood; ++i) engine_->ask_for_sessions({.id = i, .payer = {2}, .only = {}});
  std::vector<std::uint64_t> lists_before_each_answer;
  std::uint64_t lists = 0;
  for (int answers = 0; answers < 5; ++answers) {
    const auto command = wire::Command::parse(start_session(SessionType::kHmac), wire::CommandTable::builtin(), 4096);
    (void)engine_->submit(victim, *command, 0, now_);
    for (bool answered = false; !answered;) {
      const Step step = engine_->step(now_);
      ASSERT_FALSE(step.idle);
      if (step.sessions) {
        EXPECT_EQ(step.sessions->id, ++lists) << "in the order of the requests";
      }
      answered = step.reply.has_value();
    }
    lists_before_each_answer.push_back(lists);
  }
  EXPECT_LE(lists_before_each_answer.front(), 1U);
  for (std::uint64_t more = 0; more < kFlood - lists_before_each_answer.back();)
    more += engine_->step(now_).sessions ? 1U : 0U;
  EXPECT_TRUE(engine_->step(now_).idle);
}

TEST_F(SessionListTest, AFlushedSessionLeavesATombstone) {
  const auto one = open(1);
  const auto taken = session(one), kept = session(one);
  // The type byte does not matter; a missing session is not flushed.
  const auto flushed = flush(TheseSessions{{taken ^ 0x01000000, 0x03000022}});
  ASSERT_EQ(flushed->sessions.size(), 1U);
  EXPECT_EQ(flushed->sessions[0].handle, taken);
  EXPECT_EQ(flushed->sessions[0].state, SessionState::kLoaded);
  EXPECT_EQ(run(one, context_save(taken)).code, wire::from_manager(wire::rc::kReferenceH0));
  EXPECT_NE(session(one), taken);
  EXPECT_EQ(run(one, flush_context(taken)).code, 0U);
  idle();
  EXPECT_EQ(session(one), taken);
  EXPECT_EQ(run(one, context_save(kept)).code, 0U);
}

TEST_F(SessionListTest, FlushByStateAndByOwner) {
  const auto one = open(1), other = open(2);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(run(one, context_save(session(one))).code, 0U);
  engine_->close(one);
  for (int i = 0; i < 4; ++i) (void)session(other);
  EXPECT_EQ(flush(SessionsOf{{{.owner = {3}, .part = {}}}})->sessions.size(), 0U);
  EXPECT_EQ(flush(AbandonedSessions{})->sessions.size(), 4U);
  EXPECT_EQ(engine_->sessions().sessions.size(), 4U);
  const auto flushed = flush(SessionsOf{{{.owner = {2}, .part = {}}}});
  ASSERT_EQ(flushed->sessions.size(), 4U);
  EXPECT_LT(flushed->sessions[0].handle & 0xFFFFFF, flushed->sessions[3].handle & 0xFFFFFF);
  EXPECT_TRUE(engine_->sessions().sessions.empty());
}

TEST_F(SessionListTest, ClientsHaveEveryOtherStep) {
  const auto hoarder = open(1), other = open(2);
  for (int i = 0; i < 8; ++i) (void)session(hoarder);
  engine_->order_sessions(1, SessionsOf{{{.owner = {1}, .part = {}}}});
  (void)engine_->submit(other, *wire::Command::parse(get_random(), wire::CommandTable::builtin(), 4096), 0, now_);
  bool answered = false;
  for (int i = 0; i < 3; ++i) answered = answered || engine_->step(now_).reply.has_value();
  EXPECT_TRUE(answered);
  EXPECT_GT(engine_->sessions().sessions.size(), 4U);
}

TEST_F(SessionListTest, ASessionEndedByItsClientMeanwhileIsNotTold) {
  const auto one = open(1);
  const auto first = session(one), second = session(one);
  engine_->order_sessions(1, SessionsOf{{{.owner = {1}, .part = {}}}});
  auto step = engine_->step(now_);  // begins with the last one
  EXPECT_FALSE(step.order_done);
  EXPECT_EQ(engine_->sessions().sessions.size(), 1U);
  // In the step between, its client ends the other.
  (void)engine_->submit(one, *wire::Command::parse(flush_context(first), wire::CommandTable::builtin(), 4096), 0, now_);
  EXPECT_TRUE(engine_->step(now_).reply);
  step = engine_->step(now_);
  ASSERT_TRUE(step.order_done);
  ASSERT_EQ(step.order_done->sessions.size(), 1U);
  EXPECT_EQ(step.order_done->sessions[0].handle, second);
}

// Found by a hostile review.

TEST_F(SessionListTest, AnotherProgramsSessionUnderATakenNumberIsPassedOver) {
  space::Chip chip = chip_;
  chip.keep_free_sessions = chip.keep_free_objects = 1;
  chip.active_sessions -= 2;
  engine_ =
      std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip, Config{}, [this] { return ++now_; });
  const auto one = open(1);
  const auto taken = session(one);
  (void)flush(TheseSessions{{taken}});
  idle();
  (void)tpm_->transact(start_session(SessionType::kHmac), 0);  // gets the number
  const auto before = counting_->count;
  const auto started = run(one, start_session(SessionType::kHmac));
  EXPECT_EQ(started.code, 0U);
  EXPECT_NE(started.handle, taken);
  EXPECT_LE(counting_->count - before, 8U);
}

TEST_F(SessionListTest, AnAbandonedSessionThatWasTakenUpAgainIsNotFlushed) {
  const auto one = open(1), again = open(1);
  const auto a = session(one), b = session(one);
  const auto saved = run(one, context_save(a));
  (void)run(one, context_save(b));
  engine_->close(one);
  engine_->order_sessions(1, AbandonedSessions{});
  EXPECT_FALSE(engine_->step(now_).order_done);
  (void)engine_->submit(
      again, *wire::Command::parse(context_load(saved.parameters), wire::CommandTable::builtin(), 4096), 0, now_);
  EXPECT_TRUE(engine_->step(now_).reply);
  const auto step = engine_->step(now_);
  ASSERT_TRUE(step.order_done);
  EXPECT_EQ(step.order_done->sessions.size(), 1U);
}

TEST_F(SessionListTest, NoClaimExceedsTheChip) {
  space::SpaceLimits limits;
  limits.terms.claim = 65;
  const auto one = open(1, limits);
  const Time began = now_;
  EXPECT_EQ(run(one, start_session(SessionType::kHmac)).code, 0U);
  EXPECT_LT(now_ - began, space::SessionTerms::kSecond);
}

TEST_F(SessionListTest, AnEndlessDeadlineIsNoTimeToWakeAt) {
  space::SpaceLimits limits;
  limits.terms.exhaustion = space::Exhaustion::kWait;
  limits.terms.deadline = space::SessionTerms::kEndless;
  const auto hoarder = open(2, limits), waiter = open(1, limits);
  for (int i = 0; i < kToGive; ++i) (void)session(hoarder);
  (void)engine_->submit(
      waiter, *wire::Command::parse(start_session(SessionType::kHmac), wire::CommandTable::builtin(), 4096), 0, now_);
  now_ += 100 * space::SessionTerms::kSecond;
  for (int i = 0; i < 10; ++i) {
    const auto step = engine_->step(now_);
    EXPECT_NE(step.wake, std::optional<Time>(UINT64_MAX));
  }
}

}  // namespace
}  // namespace tpmspace::engine
