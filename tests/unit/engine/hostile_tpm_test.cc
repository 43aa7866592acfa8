// Faults found by a hostile review, each as the few commands that show it: a TPM that lies at the worst moment, and
// moments between the engine's thread and the event loop. A found fault is a test for ever.
#include "engine_behind_meddler.h"

namespace tpmspace::engine {
namespace {

class HostileTpm : public EngineBehindMeddler {
 protected:
  std::vector<std::uint32_t> policies(ConnectionId connection, int count) {
    std::vector<std::uint32_t> out;
    out.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) out.push_back(session(connection, SessionType::kPolicy));
    return out;
  }
};

// The session that is being loaded is the oldest, and turns out to be dead when the gap is repaired for it.
TEST_F(HostileTpm, ASessionMayDieWhileItIsBeingLoaded) {
  const auto a = open(1);
  const auto sessions = policies(a, 4);
  int loads = 0;
  meddler_->refuse = [&](std::uint32_t code) -> std::optional<Rc> {
    if (code != cc::kContextLoad) return std::nullopt;
    return ++loads == 1 ? Rc{0x901} : Rc{0x1DF};
  };
  EXPECT_EQ(run(a, policy_get_digest(sessions[0])).code, 0x000B0910U);
}

// The same by way of another session that the command names.
TEST_F(HostileTpm, ASessionMayDieWhileAnotherOneOfTheCommandIsBeingLoaded) {
  const auto a = open(1);
  const auto sessions = policies(a, 5);  // 0 and 1 are put away
  int loads = 0;
  meddler_->refuse = [&](std::uint32_t code) -> std::optional<Rc> {
    if (code != cc::kContextLoad) return std::nullopt;
    ++loads;
    if (loads == 1) return Rc{0x901};  // of 1, which is named first
    if (loads == 2) return Rc{0x1DF};  // 0, the oldest, is dead
    return std::nullopt;
  };
  const auto both = join({authorization(sessions[1]), authorization(sessions[0])});
  EXPECT_EQ(run(a, command(cc::kGetRandom, {}, both, Writer().u16(8).take())).code, 0x000B0919U);
}

TEST_F(HostileTpm, ASequenceThatIsNoObjectCanBeCompleted) {
  const auto a = open(1);
  meddler_->spoil = [&](std::uint32_t code, Bytes& answer) {
    if (code != cc::kSequenceComplete) return;
    const auto body = Writer().u32(0).u16(0).u8(1).u16(0).take();
    answer = Writer().u16(0x8002).u32(static_cast<std::uint32_t>(10 + body.size())).u32(0).raw(body).take();
  };
  (void)run(a, sequence_complete(0x81000001));
  EXPECT_EQ(meddler_->sent[cc::kSequenceComplete], 1U);
  EXPECT_EQ(run(a, get_random()).code, 0U);
}

TEST_F(HostileTpm, ItMayListMoreSessionsThanItCanHave) {
  const auto a = open(1);
  bool refused = false;
  meddler_->refuse = [&](std::uint32_t code) -> std::optional<Rc> {
    if (code == cc::kStartAuthSession && !std::exchange(refused, true)) return Rc{0x910};
    return std::nullopt;
  };
  int asked = 0;  // objects, loaded sessions, saved sessions
  meddler_->spoil = [&](std::uint32_t code, Bytes& answer) {
    if (code != cc::kGetCapability || ++asked != 3) return;
    Writer list;
    list.u8(0).u32(1).u32(64);
    for (std::uint32_t i = 0; i < 64; ++i) list.u32(0x02000000 + 100 + i);
    answer = wire::success_response(list.take());
  };
  (void)run(a, start_session(SessionType::kHmac));  // the books are checked after each step
  EXPECT_GE(asked, 3);
}

TEST_F(HostileTpm, ASessionHandleOfAnotherClientGivesNoOtherClientItsSession) {
  const auto victim = open(1), liar = open(2);
  const auto policy = session(victim, SessionType::kPolicy);
  EXPECT_EQ(run(victim, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto digest = run(victim, policy_get_digest(policy)).parameters;
  meddler_->put_handle_once(cc::kStartAuthSession, policy);
  const auto made = run(liar, start_session(SessionType::kPolicy));
  EXPECT_EQ(meddler_->meddled, 1U);
  EXPECT_NE(made.code, 0U);
  EXPECT_EQ(run(liar, policy_get_digest(policy)).code, 0x000B0910U);
  // Nor does the victim use a session that may be another now: its own is rebuilt from its log.
  const auto again = run(victim, policy_get_digest(policy));
  EXPECT_EQ(again.code, 0U);
  EXPECT_EQ(again.parameters, digest);
}

TEST_F(HostileTpm, OneThatCannotBeFlushedDoesNotKeepTheOthers) {
  const auto a = open(1), b = open(2);
  (void)policies(a, 10);
  (void)primary(b);
  engine_->close(a);
  engine_->close(b);
  Bytes stuck;  // the first response, for every request
  meddler_->refuse_command = [&](wire::ByteView bytes) -> std::optional<Rc> {
    if (wire::read_header(bytes)->code != cc::kFlushContext) return std::nullopt;
    if (stuck.empty()) stuck = wire::to_bytes(bytes);
    return wire::same_bytes(stuck, bytes) ? std::optional(wire::rc::kRetry) : std::nullopt;
  };
  rest_for(60 * kSecond);
  EXPECT_EQ(engine_->snapshot().objects_loaded, 0U);
  EXPECT_LE(sessions_held(), 1U);
}

// --- between the engine's thread and the event loop

TEST_F(HostileTpm, AnAbandonedContextLoadKeepsTheSessionForItsFile) {
  // The clock is read after the gate has let the command through.
  Ticket ticket = 0;
  bool abandoned = false;
  engine_ = std::make_unique<Engine>(*meddler_, wire::CommandTable::builtin(), chip_, Config{}, [&] {
    if (ticket != 0 && !abandoned) abandoned = engine_->gate().abandon(ticket);
    return now_;
  });
  const auto saver = open(1);
  const auto saved = run(saver, context_save(session(saver, SessionType::kPolicy)));
  ASSERT_EQ(saved.code, 0U);
  engine_->close(saver);
  const auto leaver = open(1);
  ticket = submit(leaver, context_load(saved.parameters));
  while (!engine_->step(now_).idle) {
  }
  EXPECT_TRUE(abandoned);
  engine_->close(leaver);
  const auto next = open(1);
  EXPECT_EQ(run(next, context_load(saved.parameters)).code, 0U);
}

}  // namespace
}  // namespace tpmspace::engine
