// A forked process has its own connection, whose space begins with its parent's objects: on libtpms in virtual time
// (space/inheritance.h).
#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

constexpr Rc kNoObject = wire::from_manager(wire::rc::kReferenceH0);
constexpr Rc kNoSessionHere = wire::from_manager(wire::rc::kReferenceS0);
constexpr Rc kNoRoom = wire::from_manager(wire::rc::kObjectMemory);
constexpr std::uint64_t kAll = UINT64_MAX;

Bytes random_under(std::uint32_t session) {
  return command(cc::kGetRandom, {}, authorization(session, 0x81), Writer().u16(4).take());
}

class Fork : public EngineOnLibtpms {
 protected:
  // A connection that begins with the objects of `parent`; the response code.
  std::pair<ConnectionId, Rc> fork(ConnectionId parent, std::uint64_t known = kAll, std::uint64_t owner = 1,
                                   const space::SpaceLimits& limits = {}) {
    const ConnectionId child = open(owner, limits);
    const Ticket ticket = engine_->inherit(child, parent, known, now_);
    for (int i = 0; i < 1000; ++i) {
      auto step = engine_->step(now_);
      EXPECT_EQ(engine_->check(), std::nullopt) << *engine_->check();
      if (!step.reply) continue;
      EXPECT_EQ(step.reply->ticket, ticket);
      account_ = *step.account;
      return {child, wire::read_header(step.reply->response)->code};
    }
    ADD_FAILURE() << "no answer";
    return {child, 0};
  }
  ConnectionId child_of(ConnectionId parent) {
    const auto [child, code] = fork(parent);
    EXPECT_EQ(code, 0U);
    return child;
  }
  Answered numbered(ConnectionId connection, const Bytes& bytes, std::uint64_t number) {
    (void)engine_->submit(connection, *wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096), 0, now_,
                          number);
    for (;;) {
      const auto step = engine_->step(now_);
      if (!step.reply) continue;
      const auto header = wire::read_header(step.reply->response);
      const bool has_handle = header->code == 0 && step.reply->response.size() > 14;
      return {header->code, {}, has_handle ? *wire::Reader(ByteView(step.reply->response).subspan(10)).u32() : 0};
    }
  }
  Bytes name_of(ConnectionId connection, std::uint32_t handle) {
    return run(connection, read_public(handle)).parameters;
  }
};

TEST_F(Fork, AChildSignsWithTheKeyThatItsParentLoaded) {
  const auto parent = open();
  const std::uint32_t key = primary(parent);
  const auto child = child_of(parent), other = child_of(parent);
  EXPECT_EQ(name_of(child, key), name_of(parent, key));
  for (int i = 0; i < 3; ++i)
    for (const auto connection : {parent, child, other}) EXPECT_EQ(run(connection, sign(key)).code, 0U);
}

TEST_F(Fork, OneSlotOfTheTpmServesTheKeyOfAll) {
  const auto parent = open();
  const std::uint32_t key = primary(parent);
  std::vector<ConnectionId> all{parent};
  for (int i = 0; i < 8; ++i) all.push_back(child_of(parent));
  const auto round = [&] {
    for (const auto connection : all) EXPECT_EQ(run(connection, sign(key)).code, 0U);
  };
  EXPECT_EQ(per_command(static_cast<int>(all.size()), round), 1.0) << "nothing is loaded or saved for it";
  EXPECT_EQ(engine_->snapshot().objects_loaded, 1U);
}

TEST_F(Fork, TheKeyOutlivesTheParent) {
  const auto parent = open();
  const std::uint32_t key = primary(parent);
  const auto child = child_of(parent);
  engine_->close(parent);
  idle();
  EXPECT_EQ(run(child, sign(key)).code, 0U);
  const auto grandchild = child_of(child);
  engine_->close(child);
  idle();
  EXPECT_EQ(run(grandchild, sign(key)).code, 0U);
}

TEST_F(Fork, AnObjectFlushedByOneProcessStaysWithTheOthers) {
  const auto parent = open();
  const std::uint32_t key = primary(parent);
  const auto child = child_of(parent), other = child_of(parent);
  EXPECT_EQ(run(child, flush_context(key)).code, 0U);
  EXPECT_EQ(run(child, sign(key)).code, kNoObject);
  EXPECT_EQ(run(other, sign(key)).code, 0U);
  EXPECT_EQ(run(parent, flush_context(key)).code, 0U);
  EXPECT_EQ(run(other, sign(key)).code, 0U);
}

TEST_F(Fork, AChildsObjectsEndWithTheChild) {
  const auto parent = open();
  (void)primary(parent);
  const auto before = engine_->snapshot();
  for (int i = 0; i < 20; ++i) {
    const auto worker = child_of(parent);
    EXPECT_EQ(run(worker, create_primary(kOwner)).handle, 0x80000001U);
    (void)session(worker);
    engine_->close(worker);
    idle();
  }
  EXPECT_EQ(engine_->snapshot().objects, before.objects);
  EXPECT_EQ(engine_->snapshot().sessions, 0U);
}

TEST_F(Fork, AnObjectMadeLaterIsNotTheOthers) {
  const auto parent = open();
  const auto child = child_of(parent);
  const std::uint32_t key = primary(parent);
  EXPECT_EQ(run(child, sign(key)).code, kNoObject);
  EXPECT_EQ(run(child, create_primary(kOwner)).handle, key) << "each has its own handles";
  EXPECT_EQ(run(parent, sign(key)).code, 0U) << "and its own object behind them";
}

// The parent has flushed the key, and another object has its handle, before the child says its first word.
TEST_F(Fork, AHandleNeverStandsForAnObjectThatTheChildCannotKnow) {
  const auto parent = open();
  const auto key = numbered(parent, create_primary(kOwner, ecc_signing_template()), 1);
  EXPECT_EQ(numbered(parent, flush_context(key.handle), 2).code, 0U);
  EXPECT_EQ(numbered(parent, create_primary(kOwner), 3).handle, key.handle);
  const auto [child, code] = fork(parent, 1);
  EXPECT_EQ(code, 0U);
  EXPECT_EQ(run(child, read_public(key.handle)).code, kNoObject);
  const auto [later, also] = fork(parent, 3);
  EXPECT_EQ(also, 0U);
  EXPECT_EQ(run(later, read_public(key.handle)).code, 0U);
}

TEST_F(Fork, AnInheritedSessionIsRefusedBeforeTheTpmAndCostsNoTry) {
  const auto parent = open();
  const std::uint32_t session_of_parent = session(parent);
  const auto child = child_of(parent);
  const auto sent = counting_->count;
  EXPECT_EQ(run(child, random_under(session_of_parent)).code, kNoSessionHere);
  EXPECT_EQ(counting_->count, sent);
  EXPECT_NE(session(child), session_of_parent);
  EXPECT_EQ(run(child, flush_context(session_of_parent)).code, 0U) << "it lets go of what it inherited";
  EXPECT_EQ(run(child, flush_context(session_of_parent)).code, 0x000B01CBU);
  EXPECT_EQ(run(parent, random_under(session_of_parent)).code, 0U) << "the TPM still has the parent's";
}

// The number is free again; the child may still use the nonces of the session that it had.
TEST_F(Fork, TheNumberOfAnInheritedSessionStandsForNothingElse) {
  const auto parent = open();
  const std::uint32_t session_of_parent = session(parent);
  const auto child = child_of(parent);
  EXPECT_EQ(run(parent, flush_context(session_of_parent)).code, 0U);
  EXPECT_NE(session(child), session_of_parent);
  EXPECT_EQ(run(child, random_under(session_of_parent)).code, kNoSessionHere);
  const auto grandchild = child_of(child);
  EXPECT_NE(session(grandchild), session_of_parent);
}

TEST_F(Fork, ASequenceStaysWithItsMaker) {
  const auto parent = open();
  const auto started = run(parent, hash_start());
  ASSERT_EQ(started.code, 0U);
  const auto child = child_of(parent);
  EXPECT_EQ(run(child, sequence_update(started.handle, Bytes(8, 1))).code, kNoObject);
  EXPECT_EQ(run(parent, sequence_update(started.handle, Bytes(8, 1))).code, 0U);
}

TEST_F(Fork, TheHandleOfAnInheritedSequenceStandsForNothingElse) {
  const auto parent = open();
  const auto key = primary(parent);
  const auto started = run(parent, hash_start());
  ASSERT_EQ(started.code, 0U);
  const auto child = child_of(parent);
  const auto of_child = primary(child);
  EXPECT_NE(of_child, key);
  EXPECT_NE(of_child, started.handle);
  EXPECT_EQ(run(child, sequence_update(started.handle, Bytes(8, 1))).code, kNoObject);
  EXPECT_EQ(primary(child), started.handle) << "its client knows now that it is gone";
}

TEST_F(Fork, ItsOwnLimitsHold) {
  const auto parent = open();
  (void)primary(parent);
  (void)primary(parent);
  space::SpaceLimits one;
  one.objects = 1;
  const auto [child, code] = fork(parent, kAll, 1, one);
  EXPECT_EQ(code, kNoRoom);
  EXPECT_EQ(run(child, read_public(0x80000000)).code, kNoObject) << "all or nothing";
}

TEST_F(Fork, MemoryIsTheOwnersAndBounded) {
  Config config;
  config.max_bytes = 64 << 10;
  start(65535, config);
  const auto parent = open();
  for (int i = 0; i < 4; ++i) (void)primary(parent);
  Rc code = 0;
  int children = 0;
  for (; code == 0 && children < 100; ++children) code = fork(parent).second;
  EXPECT_EQ(code, kNoRoom);
  EXPECT_LE(engine_->snapshot().bytes, 32U << 10) << "one owner alone has half";
  EXPECT_GT(children, 2);
}

TEST_F(Fork, AChildOfAnotherUserHasTheObjectsAndPaysForThem) {
  const auto parent = open(1);
  const std::uint32_t key = primary(parent);
  const auto [child, code] = fork(parent, kAll, 2);
  EXPECT_EQ(code, 0U);
  EXPECT_EQ(run(child, sign(key)).code, 0U);
  engine_->close(parent);
  EXPECT_EQ(run(child, sign(key)).code, 0U);
  EXPECT_EQ(engine_->snapshot().objects, 1U);
}

TEST_F(Fork, AParentThatIsGoneGivesNothing) {
  const auto parent = open(1);
  const std::uint32_t key = primary(parent);
  engine_->close(parent);
  const auto [child, code] = fork(parent);
  EXPECT_EQ(code, wire::from_manager(wire::rc::kValue));
  EXPECT_EQ(run(child, sign(key)).code, kNoObject);
}

TEST_F(Fork, ItWaitsItsTurnAndIsCharged) {
  const auto parent = open(1), other = open(2);
  (void)primary(parent);
  const auto child = open(1);
  const auto parse = [](const Bytes& bytes) {
    return *wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
  };
  (void)engine_->submit(other, parse(get_random()), 0, now_);
  (void)engine_->inherit(child, parent, kAll, now_);
  const auto first = engine_->step(now_);
  EXPECT_EQ(first.reply->connection, other) << "its owner has used the TPM, the other has not";
  const auto second = engine_->step(now_);
  EXPECT_EQ(second.reply->connection, child);
  EXPECT_EQ(second.account->owner, 1U);
}

TEST_F(Fork, OneThatLeavesBeforeItsTurnIsForgotten) {
  const auto parent = open();
  (void)primary(parent);
  const auto child = open();
  (void)engine_->inherit(child, parent, kAll, now_);
  engine_->close(child);
  idle();
  EXPECT_EQ(engine_->check(), std::nullopt);
  const auto cancelled = open();
  EXPECT_TRUE(engine_->cancel(engine_->inherit(cancelled, parent, kAll, now_)));
  EXPECT_EQ(wire::read_header(engine_->step(now_).reply->response)->code, wire::from_manager(wire::rc::kCanceled));
}

TEST_F(Fork, TheBooksRememberSharedObjects) {
  const auto parent = open();
  const std::uint32_t key = primary(parent);
  const auto child = child_of(parent);
  const Bytes image = engine_->save_books();
  Engine again(*counting_, wire::CommandTable::builtin(), chip_, {}, [this] { return ++now_; });
  ASSERT_TRUE(again.restore_books(image));
  EXPECT_EQ(again.save_books(), image);
  const auto sent = counting_->count;
  (void)again.submit(child, *wire::Command::parse(sign(key), wire::CommandTable::builtin(), 4096), 0, now_);
  EXPECT_EQ(wire::read_header(again.step(now_).reply->response)->code, 0U);
  EXPECT_EQ(counting_->count, sent + 1);
}

TEST_F(Fork, AHierarchyThatIsEmptiedTakesItFromAll) {
  const auto parent = open();
  const std::uint32_t key = primary(parent);
  const auto child = child_of(parent);
  EXPECT_EQ(run(parent, hierarchy_control(kOwner, false)).code, 0U);
  EXPECT_EQ(run(child, sign(key)).code, kNoObject);
  EXPECT_EQ(run(parent, sign(key)).code, kNoObject);
}

}  // namespace
}  // namespace tpmspace::engine
