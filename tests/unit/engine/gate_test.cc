// The event loop's actions on a command in the engine's thread: withdraw, cancel, abandon. And the manager with a TPM
// that cannot make room.
#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

constexpr Rc kOurCanceled = wire::from_manager(wire::rc::kCanceled);

class Gates : public EngineOnLibtpms {
 protected:
  Ticket submit(ConnectionId connection, const Bytes& bytes) {
    return engine_->submit(connection, *wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096), 0, now_);
  }
  // Until the engine rests; codes of the answers.
  std::vector<Rc> answers() {
    std::vector<Rc> out;
    for (;;) {
      const auto step = engine_->step(now_);
      EXPECT_EQ(engine_->check(), std::nullopt);
      if (step.reply) out.push_back(wire::read_header(step.reply->response)->code);
      if (step.idle) return out;
    }
  }
  Gate& gate() { return engine_->gate(); }
};

TEST_F(Gates, AWithdrawnJobNeverRuns) {
  const auto a = open(1), b = open(2);
  const Ticket dropped = submit(a, create_primary(kOwner));
  submit(b, get_random());
  EXPECT_TRUE(gate().withdraw(dropped));
  EXPECT_FALSE(gate().withdraw(dropped)) << "once";
  EXPECT_EQ(answers(), std::vector<Rc>{0}) << "only the other one is answered";
  EXPECT_EQ(engine_->snapshot().objects, 0U);
  EXPECT_EQ(run(a, get_random()).code, 0U);
}

TEST_F(Gates, AWithdrawnJobCanBeTakenOutOfTheQueue) {
  const auto a = open();
  const Ticket dropped = submit(a, create_primary(kOwner));
  EXPECT_TRUE(gate().withdraw(dropped));
  EXPECT_TRUE(engine_->cancel(dropped));
  EXPECT_EQ(engine_->snapshot().queued, 0U);
  EXPECT_TRUE(answers().empty()) << "whoever withdrew it answered it";
}

TEST_F(Gates, OneThatIsDoneCanBeNeitherWithdrawnNorCancelledNorAbandoned) {
  const auto a = open();
  const Ticket done = submit(a, create_primary(kOwner));
  EXPECT_EQ(answers(), std::vector<Rc>{0});
  EXPECT_FALSE(gate().withdraw(done) || gate().cancel(done) || gate().abandon(done));
  EXPECT_EQ(engine_->snapshot().objects, 1U);
}

TEST_F(Gates, ACancelWhileRoomIsMadeKeepsTheCommandFromTheTpm) {
  const auto a = open(1), b = open(2);
  for (int i = 0; i < 3; ++i) primary(a);
  const Ticket ticket = submit(b, create_primary(kOwner));
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    if (code == cc::kContextSave) {
      EXPECT_TRUE(gate().cancel(ticket));
    }
    EXPECT_NE(code, cc::kCreatePrimary) << "it was cancelled before";
    return std::nullopt;
  };
  EXPECT_EQ(answers(), std::vector<Rc>{kOurCanceled});
  counting_->meddle = nullptr;
  EXPECT_EQ(run(b, get_random()).code, 0U) << "the next one is not cancelled";
}

// The response to an abandoned ContextSave reaches no client, so the session must stay where it is.
TEST_F(Gates, AnAbandonedContextSaveLeavesTheSessionUsable) {
  const auto a = open();
  const auto policy = session(a, SessionType::kPolicy);
  const Ticket ticket = submit(a, context_save(policy));
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    if (code == cc::kContextSave) {
      EXPECT_TRUE(gate().abandon(ticket));
    }
    return std::nullopt;
  };
  EXPECT_EQ(answers(), std::vector<Rc>{0});
  counting_->meddle = nullptr;
  EXPECT_EQ(run(a, policy_get_digest(policy)).code, 0U);
}

TEST_F(Gates, AnAbandonedCommandsObjectIsGone) {
  const auto a = open();
  for (const Bytes& bytes : {create_primary(kOwner), start_session(SessionType::kHmac)}) {
    const Ticket ticket = submit(a, bytes);
    bool met = false;
    counting_->meddle = [&](wire::CommandCode) -> std::optional<Rc> {
      if (!std::exchange(met, true)) {
        EXPECT_TRUE(gate().abandon(ticket));
      }
      return std::nullopt;
    };
    EXPECT_EQ(answers(), std::vector<Rc>{0});
    counting_->meddle = nullptr;
    EXPECT_EQ(engine_->snapshot().objects, 0U);
    EXPECT_EQ(engine_->snapshot().sessions, 0U);
  }
}

// The handle of a password authorization, 0x40000009, is not the session 9.
TEST_F(Gates, AnAbandonedCommandWithAPasswordLeavesSessionNineAlone) {
  const auto a = open();
  std::uint32_t ninth = 0;
  while (wire::number_of(ninth) != 9) ninth = session(a, SessionType::kPolicy);
  const Ticket ticket = submit(a, create_primary(kOwner));
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    if (code == cc::kCreatePrimary) {
      EXPECT_TRUE(gate().abandon(ticket));
    }
    return std::nullopt;
  };
  EXPECT_EQ(answers(), std::vector<Rc>{0});
  counting_->meddle = nullptr;
  EXPECT_EQ(run(a, command(cc::kPolicyAuthValue, {ninth}, {}, {})).code, 0U) << "the client has the newest nonce";
}

// --- a TPM that cannot make room

// RETRY from the manager would make ESYS send the command five times (tpm-behaviour 32).
TEST_F(Gates, AWarningThatOurOwnCommandMetIsNotTheClients) {
  const auto a = open(1), b = open(2);
  const auto key = primary(a);
  const auto policy = session(a, SessionType::kPolicy);
  for (int i = 0; i < 3; ++i) primary(b), session(b);
  for (const Rc warning : {wire::rc::kRetry, wire::rc::kTesting, wire::rc::kYielded}) {
    counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
      return code == cc::kContextLoad ? std::optional(warning) : std::nullopt;
    };
    EXPECT_EQ(run(a, sign(key)).code, wire::from_manager(wire::rc::kObjectMemory));
    EXPECT_EQ(run(a, policy_get_digest(policy)).code, wire::from_manager(wire::rc::kSessionMemory));
  }
  counting_->meddle = nullptr;
  EXPECT_EQ(run(a, sign(key)).code, 0U) << "nothing was lost by it";
  EXPECT_EQ(run(a, policy_get_digest(policy)).code, 0U);
}

TEST_F(Gates, OneThatCannotBeSavedDoesNotStopTheOthers) {
  const auto a = open(1), b = open(2);
  for (int i = 0; i < 3; ++i) primary(a), session(a);
  int saves = 0;
  counting_->meddle = [&](wire::CommandCode code) -> std::optional<Rc> {
    return code == cc::kContextSave && ++saves % 2 == 1 ? std::optional(wire::rc::kMemory) : std::nullopt;
  };
  EXPECT_EQ(run(b, create_primary(kOwner)).code, 0U);
  EXPECT_EQ(run(b, start_session(SessionType::kHmac)).code, 0U);
  EXPECT_EQ(saves, 4);
}

TEST_F(Gates, AClientsOwnFlushIsItsOwn) {
  const auto a = open();
  const auto key = primary(a);
  const auto policy = session(a, SessionType::kPolicy);
  for (const auto handle : {key, policy}) {
    submit(a, flush_context(handle));
    const auto step = engine_->step(now_);
    ASSERT_EQ(step.account->tpm.size(), 1U);
    EXPECT_EQ(step.account->tpm[0].cause, observe::Cause::kClient);
  }
}

// --- memory for contexts

TEST_F(Gates, AnOwnerLeavesContextMemoryForTheNext) {
  Config config;
  config.max_bytes = 64 << 10;
  start(65535, config);
  const auto a = open(1), b = open(2);
  std::uint32_t greedy = 0;
  while (run(a, create_primary(kOwner)).code == 0) ++greedy;
  EXPECT_GT(greedy, 5U);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(b, create_primary(kOwner)).code, 0U) << i;
  EXPECT_EQ(run(a, create_primary(kOwner)).code, wire::from_manager(wire::rc::kObjectMemory));
  EXPECT_LE(engine_->snapshot().bytes, config.max_bytes);
}

}  // namespace
}  // namespace tpmspace::engine
