#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

TEST_F(EngineOnLibtpms, SixtyKeysOfOneClientAllSign) {
  const auto c = open();
  for (std::uint32_t i = 0; i < 60; ++i) EXPECT_EQ(primary(c), 0x80000000 + i);
  for (std::uint32_t i = 0; i < 60; ++i) EXPECT_EQ(run(c, sign(0x80000000 + i)).code, 0U) << i;
}

TEST_F(EngineOnLibtpms, ObjectsThatFitCostNothing) {
  const auto c = open();
  const auto key = primary(c);
  EXPECT_DOUBLE_EQ(per_command(2,
                               [&] {
                                 EXPECT_EQ(run(c, sign(key)).code, 0U);
                                 EXPECT_EQ(run(c, get_random()).code, 0U);
                               }),
                   1.0);
}

TEST_F(EngineOnLibtpms, ThreeKeysAndASessionCostNothing) {
  const auto c = open();
  const std::uint32_t keys[] = {primary(c), primary(c), primary(c)};
  const auto policy = session(c, SessionType::kPolicy);
  EXPECT_DOUBLE_EQ(per_command(4,
                               [&] {
                                 for (const auto key : keys) EXPECT_EQ(run(c, sign(key)).code, 0U);
                                 EXPECT_EQ(run(c, policy_get_digest(policy)).code, 0U);
                               }),
                   1.0);
}

TEST_F(EngineOnLibtpms, EightClientsInTurnCostAtMostFive) {
  struct Client {
    ConnectionId connection;
    std::uint32_t key, session;
  };
  std::vector<Client> clients;
  for (std::uint64_t i = 0; i < 8; ++i) {
    const auto c = open(i);
    clients.push_back({c, primary(c), session(c, SessionType::kPolicy)});
  }
  EXPECT_LE(per_command(8,
                        [&] {
                          for (const auto& client : clients) {
                            // One command that needs the key and the session: the policy does not fit, which is for the
                            // TPM to say.
                            EXPECT_EQ(run(client.connection, sign(client.key, authorization(client.session))).code,
                                      0x99DU);
                          }
                        }),
            5.0);
}

TEST_F(EngineOnLibtpms, AForeignHandleIsAnsweredBeforeTheTpm) {
  const auto a = open(1), b = open(2);
  const auto key = primary(a);
  const auto policy = session(a, SessionType::kPolicy);
  const auto before = counting_->count;
  EXPECT_EQ(run(b, sign(key)).code, 0x000B0910U);
  EXPECT_EQ(run(b, policy_get_digest(policy)).code, 0x000B0910U);
  EXPECT_EQ(run(b, unseal(0x80000000)).code, 0x000B0910U);
  EXPECT_EQ(run(b, flush_context(key)).code, 0x000B01CBU);
  EXPECT_EQ(run(b, flush_context(policy)).code, 0x000B01CBU);
  EXPECT_EQ(counting_->count, before);
  EXPECT_EQ(run(a, sign(key)).code, 0U);
  EXPECT_EQ(run(a, policy_get_digest(policy)).code, 0U);
}

TEST_F(EngineOnLibtpms, AHashOverManySwapsIsRight) {
  const auto a = open(1), b = open(2);
  const auto sequence = run(a, hash_start()).handle;
  const auto reference = run(b, hash_start());
  EXPECT_EQ(reference.code, 0U);
  const Bytes block(64, 0x42);
  for (int i = 0; i < 5; ++i) {
    for (int k = 0; k < 3; ++k) (void)primary(b);
    EXPECT_EQ(run(a, sequence_update(sequence, block)).code, 0U);
  }
  Bytes all;
  for (int i = 0; i < 5; ++i) all.insert(all.end(), block.begin(), block.end());
  const auto swapped = run(a, sequence_complete(sequence));
  EXPECT_EQ(run(b, sequence_update(reference.handle, all)).code, 0U);
  const auto straight = run(b, sequence_complete(reference.handle));
  ASSERT_EQ(swapped.code, 0U);
  EXPECT_TRUE(wire::same_bytes(ByteView(swapped.parameters).first(34), ByteView(straight.parameters).first(34)));
  EXPECT_EQ(run(a, sequence_complete(sequence)).code, 0x000B0910U) << "completing it was its end";
}

TEST_F(EngineOnLibtpms, AClientSavedSessionIsLoadedOnceByItsOwner) {
  const auto a = open(1), stranger = open(2);
  const auto policy = session(a, SessionType::kPolicy);
  EXPECT_EQ(run(a, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto saved = run(a, context_save(policy));
  ASSERT_EQ(saved.code, 0U);
  EXPECT_EQ(run(a, policy_get_digest(policy)).code, 0x000B0910U);
  engine_->close(a);
  EXPECT_EQ(run(stranger, context_load(saved.parameters)).code, 0x000B01CBU);
  const auto again = open(1);
  EXPECT_EQ(run(again, context_load(saved.parameters)).handle, policy);
  EXPECT_EQ(run(again, context_load(saved.parameters)).code, 0x000B01CBU);
  EXPECT_EQ(run(again, policy_get_digest(policy)).code, 0U);
}

TEST_F(EngineOnLibtpms, ClosingLeavesTheTpmEmpty) {
  const auto a = open();
  for (int i = 0; i < 10; ++i) (void)primary(a);
  for (int i = 0; i < 10; ++i) (void)session(a);
  engine_->close(a);
  idle();
  EXPECT_EQ(engine_->snapshot().objects_loaded, 0U);
  EXPECT_EQ(engine_->snapshot().sessions, 0U);
  const auto b = open();
  const auto free = run(b, get_capability(6, 0x203, 5));
  ASSERT_EQ(free.code, 0U);
}

TEST_F(EngineOnLibtpms, ClearTakesOwnerKeysFromEverySpaceAndNothingElse) {
  const auto a = open(1), b = open(2);
  const auto owner_key = primary(a);
  const auto null_key = run(a, create_primary(kNull, ecc_signing_template())).handle;
  const auto other = primary(b);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(run(b, create_primary(kNull, ecc_signing_template())).code, 0U);
  EXPECT_EQ(run(b, clear()).code, 0U);
  EXPECT_EQ(run(a, sign(owner_key)).code, 0x000B0910U);
  EXPECT_EQ(run(b, sign(other)).code, 0x000B0910U);
  EXPECT_EQ(run(a, sign(null_key)).code, 0U);
}

TEST_F(EngineOnLibtpms, ClearLeavesNoSlotOfAClosedSpaceBooked) {
  const auto a = open(1), b = open(2);
  EXPECT_EQ(run(a, create_primary(kEndorsement, ecc_signing_template())).code, 0U);
  engine_->close(a);
  EXPECT_EQ(run(b, clear()).code, 0U);  // the TPM flushes what nobody wanted any more
  EXPECT_EQ(engine_->snapshot().objects_loaded, 0U);
  const auto key = primary(b);
  idle();
  EXPECT_EQ(run(b, sign(key)).code, 0U);
}

TEST_F(EngineOnLibtpms, AResetIsNoticedAndSurvived) {
  const auto a = open();
  const auto key = primary(a);
  const auto policy = session(a, SessionType::kPolicy);
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(run(a, get_random()).code, 0U);
  EXPECT_EQ(run(a, sign(key)).code, 0x000B0910U);
  EXPECT_EQ(run(a, policy_get_digest(policy)).code, 0x000B0910U);
  EXPECT_EQ(primary(a), 0x80000000U);
}

TEST_F(EngineOnLibtpms, AResetThatSwappingMeetsFirstIsSurvived) {
  const auto a = open();
  for (int i = 0; i < 5; ++i) (void)session(a);
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(run(a, start_session(SessionType::kHmac)).code, 0U) << "our own ContextSave met the INITIALIZE";
  EXPECT_EQ(engine_->snapshot().sessions, 1U);
}

TEST_F(EngineOnLibtpms, AClientsStartupThatSucceedsProvesAReset) {
  const auto a = open();
  const auto policy = session(a, SessionType::kPolicy);
  EXPECT_EQ(run(a, context_save(policy)).code, 0U);
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(run(a, startup_clear()).code, 0U);
  EXPECT_EQ(engine_->snapshot().sessions, 0U);
  EXPECT_EQ(run(a, startup_clear()).code, 0x100U) << "as a TPM that was started";
}

// libtpms 0.9 asserts when a bound session authorizes an object of which only the public part is loaded.
TEST_F(EngineOnLibtpms, ACommandThatBringsTheTpmDownDoesNotKeepItDown) {
  const auto a = open(1), b = open(2);
  const auto key = primary(a);
  const auto public_area = run(a, read_public(key)).parameters;
  const auto size = static_cast<std::size_t>(public_area[0] << 8 | public_area[1]);
  const auto external = run(a, command(cc::kLoadExternal, {}, {},
                                       Writer().u16(0).raw(ByteView(public_area).first(2 + size)).u32(kNull).take()));
  ASSERT_EQ(external.code, 0U);
  const auto bound = run(a, start_session(SessionType::kHmac, kNull, key));
  ASSERT_EQ(bound.code, 0U);
  EXPECT_EQ(run(a, sign(external.handle, authorization(bound.handle))).code, 0x101U);
  EXPECT_EQ(run(b, get_random()).code, 0U) << "the others go on, as after a reset";
  EXPECT_EQ(run(a, sign(key)).code, 0x000B0910U);
  EXPECT_EQ(primary(b), 0x80000000U);
}

TEST_F(EngineOnLibtpms, AResetAfterAClearIsAReset) {
  const auto a = open();
  const auto null_key = run(a, create_primary(kNull, ecc_signing_template())).handle;
  EXPECT_EQ(run(a, context_save(null_key)).code, 0U);
  EXPECT_EQ(run(a, clear()).code, 0U);  // sets resetCount to zero, so that the reset brings back the number we knew
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(run(a, sign(null_key)).code, 0x000B0910U);
  EXPECT_EQ(engine_->snapshot().objects, 0U);
}

TEST_F(EngineOnLibtpms, CapabilitiesShowTheSpaceInPages) {
  const auto a = open(1), b = open(2);
  for (int i = 0; i < 5; ++i) (void)primary(a);
  (void)primary(b);
  const auto page = run(a, get_capability(1, 0x80000000, 2));
  EXPECT_TRUE(wire::same_bytes(page.parameters, Writer().u8(1).u32(1).u32(2).u32(0x80000000).u32(0x80000001).take()));
  const auto rest = run(a, get_capability(1, 0x80000002, 100));
  EXPECT_TRUE(wire::same_bytes(rest.parameters,
                               Writer().u8(0).u32(1).u32(3).u32(0x80000002).u32(0x80000003).u32(0x80000004).take()));
  EXPECT_TRUE(
      wire::same_bytes(run(a, get_capability(1, 0x80FFFFFF, 100)).parameters, Writer().u8(0).u32(1).u32(0).take()));
  const auto room = run(b, get_capability(6, 0x207, 1));
  EXPECT_TRUE(wire::same_bytes(room.parameters, Writer().u8(1).u32(6).u32(1).u32(0x207).u32(999).take()));
}

TEST_F(EngineOnLibtpms, AnAccountHasTheContentsOfASpaceAfterEachCommand) {
  const auto c = open(), other = open(2);
  (void)primary(other);
  const auto key = primary(c);
  ASSERT_TRUE(account_.held);
  EXPECT_EQ(account_.held->objects, 1U);
  EXPECT_EQ(account_.held->sessions, 0U);
  const auto saved = session(c);
  EXPECT_EQ(account_.held->sessions, 1U);
  ASSERT_EQ(run(c, context_save(saved)).code, 0U);
  EXPECT_EQ(account_.held->sessions, 1U) << "what its client saved is active, too";
  (void)session(c);
  EXPECT_EQ(account_.held->sessions, 2U);
  ASSERT_EQ(run(c, flush_context(key)).code, 0U);
  EXPECT_EQ(account_.held->objects, 0U);
  (void)primary(c);
  EXPECT_EQ(account_.held->objects, 1U);
  EXPECT_EQ(account_.held->sessions, 2U);
  EXPECT_NE(run(c, create_primary(0x40000020, ecc_signing_template())).code, 0U);
  EXPECT_EQ(account_.held->objects, 1U);
}

TEST_F(EngineOnLibtpms, BooksSurviveARoundTripInTheMiddle) {
  const auto a = open();
  const auto key = primary(a);
  const auto policy = session(a, SessionType::kPolicy);
  for (int i = 0; i < 5; ++i) (void)primary(a);
  const auto image = engine_->save_books();
  space::Chip chip;
  auto second =
      std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip, Config{}, [this] { return ++now_; });
  ASSERT_TRUE(second->restore_books(image));
  EXPECT_TRUE(wire::same_bytes(second->save_books(), image));
  engine_ = std::move(second);
  EXPECT_EQ(run(a, sign(key)).code, 0U);
  EXPECT_EQ(run(a, policy_get_digest(policy)).code, 0U);
}

}  // namespace
}  // namespace tpmspace::engine
