// Faults of other managers (each row was seen on one of them), as tests of this manager.

#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

class PeersRows : public EngineOnLibtpms {
 protected:
  // An HMAC session's authorization with an HMAC that cannot be right, continueSession clear.
  static Bytes wrong_hmac(std::uint32_t session) {
    const Bytes nonce(16, 0x22), hmac(32, 0x33);
    return Writer().u32(session).tpm2b(nonce).u8(0x00).tpm2b(hmac).take();
  }
};

TEST_F(PeersRows, FailedAuthorizationsWithoutContinueSessionLeakNothing) {
  const auto a = open(1), b = open(2);
  const auto key = primary(a);
  const auto of_b = session(b);
  const std::uint32_t of_a[] = {session(a), session(a), session(a)};
  for (const auto one : of_a) EXPECT_EQ(wire::base_code(run(a, sign(key, wrong_hmac(one))).code), wire::rc::kBadAuth);
  EXPECT_EQ(engine_->snapshot().sessions, 4U) << "a failed command does not flush its session";
  for (const auto one : of_a) EXPECT_EQ(run(a, flush_context(one)).code, 0U);
  EXPECT_EQ(run(b, flush_context(of_b)).code, 0U) << "nobody else's was lost";
}

TEST_F(PeersRows, BeyondTheLimitIsRefusedNotAnsweredWithADeadHandle) {
  const auto a = open(1, space::SpaceLimits{3, 2});
  for (int i = 0; i < 3; ++i) (void)primary(a);
  EXPECT_EQ(run(a, create_primary(kOwner)).code, 0x000B0902U);
  EXPECT_EQ(run(a, hash_start()).code, 0x000B0902U);
  EXPECT_EQ(run(a, command(cc::kCreateLoaded, {0x80000000}, password(),
                           Writer().raw(sensitive()).tpm2b(ecc_signing_template()).take()))
                .code,
            0x000B0902U);
  (void)session(a);
  (void)session(a);
  EXPECT_EQ(run(a, start_session(SessionType::kHmac)).code, 0x000B0905U);
  EXPECT_EQ(run(a, flush_context(0x80000001)).code, 0U);
  EXPECT_EQ(run(a, hash_start()).handle, 0x80000001U) << "the lowest free handle";
}

TEST_F(PeersRows, NoClientFlushesOrLoadsAnothersSession) {
  const auto a = open(1), b = open(2);
  const auto mine = session(a, SessionType::kPolicy);
  const auto saved = run(a, context_save(mine)).parameters;
  EXPECT_EQ(run(b, flush_context(mine)).code, 0x000B01CBU);
  EXPECT_EQ(run(b, context_load(saved)).code, 0x000B01CBU);
  EXPECT_EQ(run(a, context_load(saved)).handle, mine);
  EXPECT_EQ(run(b, context_load(saved)).code, 0x000B01CBU);
  EXPECT_EQ(run(a, policy_get_digest(mine)).code, 0U);
}

TEST_F(PeersRows, AnAbandonedSessionThatWasFlushedIsGoneForItsBlob) {
  const auto a = open(1);
  const auto mine = session(a, SessionType::kPolicy);
  const auto saved = run(a, context_save(mine)).parameters;
  engine_->close(a);
  const auto again = open(1);
  EXPECT_EQ(run(again, flush_context(mine)).code, 0U);
  EXPECT_EQ(run(again, context_load(saved)).code, 0x000B01CBU);
  EXPECT_EQ(engine_->snapshot().sessions, 0U);
}

TEST_F(PeersRows, TheOldestAbandonedSessionGoesFirst) {
  std::vector<Bytes> blobs;
  for (int i = 0; i < 20; ++i) {
    const auto a = open(1);
    blobs.push_back(run(a, context_save(session(a))).parameters);
    engine_->close(a);
  }
  idle();
  EXPECT_EQ(engine_->snapshot().sessions, 16U);
  const auto a = open(1);
  for (std::size_t i = 0; i < blobs.size(); ++i)
    EXPECT_EQ(run(a, context_load(blobs[i])).code, i < 4 ? 0x000B01CBU : 0U) << i;
}

TEST_F(PeersRows, ListsOfSessionsShowTheOwnersOnly) {
  const auto a = open(1), b = open(2), a_too = open(1);
  const auto hmac = session(a);
  const auto policy = session(a, SessionType::kPolicy);
  (void)session(b);
  (void)run(a, context_save(hmac));
  const auto none = Writer().u8(0).u32(1).u32(0).take();
  const auto only_policy = Writer().u8(0).u32(1).u32(1).u32(policy).take();
  const auto only_hmac = Writer().u8(0).u32(1).u32(1).u32(hmac).take();
  EXPECT_TRUE(wire::same_bytes(run(a, get_capability(1, 0x02000000, 64)).parameters, only_policy));
  EXPECT_TRUE(wire::same_bytes(run(a, get_capability(1, 0x03000000, 64)).parameters, only_hmac));
  EXPECT_TRUE(wire::same_bytes(run(a_too, get_capability(1, 0x02000000, 64)).parameters, none));
  EXPECT_TRUE(wire::same_bytes(run(a_too, get_capability(1, 0x03000000, 64)).parameters, only_hmac));
  EXPECT_TRUE(wire::same_bytes(run(b, get_capability(1, 0x03000000, 64)).parameters, none));
}

TEST_F(PeersRows, ACapabilityThatTheTpmRejectsIsJustRejected) {
  const auto a = open();
  EXPECT_EQ(run(a, get_capability(0x7FFF, 0, 1)).code, 0x1C4U);
  EXPECT_EQ(run(a, get_capability(1, 0x55000000, 1)).code, 0x28BU | 0x40U);
  EXPECT_EQ(run(a, get_random()).code, 0U);
}

TEST_F(PeersRows, AnIdleSessionSurvivesTheContextGap) {
  start(64);
  const auto idle_client = open(1), busy = open(2), saver = open(3);
  const auto idle_session = session(idle_client, SessionType::kPolicy);
  const auto in_file = session(saver, SessionType::kPolicy);
  const auto blob = run(saver, context_save(in_file)).parameters;
  std::vector<std::uint32_t> sessions;
  sessions.reserve(10);
  for (int i = 0; i < 10; ++i) sessions.push_back(session(busy, SessionType::kPolicy));
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(run(busy, policy_get_digest(sessions[static_cast<std::size_t>(i) % 10])).code, 0U);
  EXPECT_EQ(run(idle_client, policy_get_digest(idle_session)).code, 0U);
  EXPECT_EQ(run(saver, context_load(blob)).handle, in_file) << "the file is good although the context was refreshed";
  EXPECT_EQ(run(saver, policy_get_digest(in_file)).code, 0U);
}

TEST_F(PeersRows, APersistentKeyIsUsableWithThreeObjectsLoaded) {
  const auto a = open();
  const auto key = primary(a);
  EXPECT_EQ(run(a, evict_control(key, 0x81000001)).code, 0U);
  for (int i = 0; i < 2; ++i) (void)primary(a);
  EXPECT_EQ(run(a, sign(0x81000001)).code, 0U);
  EXPECT_EQ(run(a, sign(0x80000002)).code, 0U);
}

TEST_F(PeersRows, ASixtyFifthSessionIsRefusedAndAFreedOneIsNot) {
  space::SpaceLimits refusing;
  refusing.terms.exhaustion = space::Exhaustion::kRefuse;
  const auto a = open(1), b = open(2, refusing);
  for (int i = 0; i < kToGive; ++i) (void)session(a);
  EXPECT_EQ(run(b, start_session(SessionType::kHmac)).code, 0x000B0905U);
  engine_->close(a);
  EXPECT_EQ(run(b, start_session(SessionType::kHmac)).code, 0U) << "what nobody wants makes room at once";
}

}  // namespace
}  // namespace tpmspace::engine
