// Quotas of sets of spaces, on libtpms: the entities of all spaces of a pool together.
#include "engine_that_parks.h"

namespace tpmspace::engine {
namespace {

using space::Pool;

constexpr Rc kNoMoreObjects = 0x000B0902, kUnknownFile = 0x000B01CB;
constexpr std::uint64_t kLease = space::SessionTerms{}.lease;

class Pools : public EngineThatParks {
 protected:
  static space::SpaceLimits in(const Pool& one, const Pool& other = {}) {
    space::SpaceLimits out;
    out.pools = {one, other};
    return out;
  }
  ConnectionId open_in(std::uint64_t owner, const Pool& one, const Pool& other = {}) {
    return open(owner, in(one, other));
  }
  Rc key(ConnectionId c) { return run(c, create_primary(kNull, ecc_signing_template())).code; }
  Rc hmac_session(ConnectionId c) { return run(c, start_session(SessionType::kHmac)).code; }
  std::uint32_t property(ConnectionId c, std::uint32_t which) {
    const auto answer = run(c, get_capability(6, which, 1)).parameters;
    return wire::Reader(ByteView(answer).subspan(13)).u32().value_or(0);
  }
};

TEST_F(Pools, ObjectsOfAllSpacesCount) {
  const Pool four{.id = {7}, .objects = 4}, other{.id = {8}, .objects = 4};
  const auto a = open_in(1, four), b = open_in(2, four), stranger = open_in(1, other), free = open(1);
  for (const auto c : {a, b, a, b}) EXPECT_EQ(key(c), 0U);
  EXPECT_EQ(property(a, 0x207), 0U);
  EXPECT_EQ(key(a), kNoMoreObjects);
  EXPECT_EQ(key(b), kNoMoreObjects);
  EXPECT_EQ(run(b, hash_start()).code, kNoMoreObjects) << "a sequence is one";
  const auto file = run(a, context_save(0x80000000)).parameters;
  EXPECT_EQ(run(b, context_load(file)).code, kNoMoreObjects);
  EXPECT_EQ(key(stranger), 0U);
  EXPECT_EQ(key(free), 0U);
  EXPECT_EQ(run(a, flush_context(0x80000000)).code, 0U);
  EXPECT_EQ(run(b, context_load(file)).code, 0U);
  engine_->close(b);
  EXPECT_EQ(key(a), 0U);
  EXPECT_EQ(property(a, 0x207), 2U);
}

TEST_F(Pools, OctetsOfAllSpacesCount) {
  constexpr std::size_t kLimit = 12 << 10, kLongest = 4096;
  const Pool small{.id = {7}, .bytes = kLimit};
  const auto a = open_in(1, small), b = open_in(2, small), free = open(3);
  const auto push_out = [&] {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run(free, sign(0x80000000U + static_cast<std::uint32_t>(i))).code, 0U);
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(key(free), 0U);
  // A loaded context may become as long as any.
  for (const auto c : {a, b, a}) EXPECT_EQ(key(c), 0U);
  EXPECT_EQ(key(b), kNoMoreObjects);
  push_out();
  bool full = false;
  for (int i = 0; i < 100 && !full; ++i) {
    full = key(i % 2 == 0 ? b : a) == kNoMoreObjects;
    push_out();
  }
  ASSERT_TRUE(full);
  std::size_t held = 0;
  for (const auto c : {a, b})
    for (std::uint32_t handle = 0x80000000; run(c, read_public(handle)).code == 0; ++handle)
      held += run(c, context_save(handle)).parameters.size();
  EXPECT_LE(held, kLimit);
  EXPECT_GT(held, kLimit - kLongest);
  push_out();
  EXPECT_EQ(key(a), kNoMoreObjects);
  EXPECT_EQ(key(free), 0U);
  EXPECT_EQ(run(b, flush_context(0x80000000)).code, 0U);
  EXPECT_EQ(run(b, flush_context(0x80000001)).code, 0U);
  EXPECT_EQ(key(a), 0U);
}

TEST_F(Pools, OrdinarySessionsOfAllSpacesCountAndNoClientWaits) {
  const Pool three{.id = {7}, .sessions = 3};
  const auto a = open_in(1, three), b = open_in(2, three), free = open(3);
  for (const auto c : {a, b, a}) EXPECT_EQ(hmac_session(c), 0U);
  EXPECT_EQ(property(a, 0x206), 0U);
  const auto before = now_;
  EXPECT_EQ(hmac_session(b), kNoMoreSessions);
  EXPECT_LT(now_ - before, 1'000'000U) << "at once";
  EXPECT_EQ(hmac_session(free), 0U);
  // A rebuildable session takes no place, in the TPM or not, and comes back.
  const auto one = stepped(b);
  crowd_passes();
  ASSERT_TRUE(is_parked(b, one));
  EXPECT_EQ(run(b, policy_nv_written(one)).code, 0U);
  EXPECT_FALSE(is_parked(b, one));
  // But it cannot become an ordinary one.
  const auto two = stepped(b);
  EXPECT_EQ(run(b, policy_auth_value(two)).code, kNoMoreSessions);
  EXPECT_EQ(run(b, policy_nv_written(two)).code, 0U) << "it is as it was";
  engine_->close(a);
  EXPECT_EQ(run(b, policy_auth_value(two)).code, 0U);
  EXPECT_EQ(hmac_session(b), 0U);
  EXPECT_EQ(hmac_session(b), kNoMoreSessions);
}

TEST_F(Pools, ASessionWhoseConnectionIsGoneStillCounts) {
  const Pool one{.id = {7}, .sessions = 1}, other{.id = {8}, .sessions = 1};
  const auto a = open_in(1, one);
  const auto handle = session(a);
  const auto file = run(a, context_save(handle)).parameters;
  EXPECT_EQ(hmac_session(a), kNoMoreSessions);
  engine_->close(a);
  const auto b = open_in(1, one), c = open_in(1, other);
  EXPECT_EQ(hmac_session(b), kNoMoreSessions);
  // Into another pool it comes only if that one has room.
  const auto full = session(c);
  EXPECT_EQ(run(c, context_load(file)).code, kNoMoreSessions);
  EXPECT_EQ(run(c, flush_context(full)).code, 0U);
  EXPECT_EQ(run(c, context_load(file)).code, 0U);
  EXPECT_EQ(hmac_session(c), kNoMoreSessions);
  EXPECT_EQ(hmac_session(b), 0U) << "it has left this one";
  // In its own it is counted already.
  const auto again = run(c, context_save(handle)).parameters;
  EXPECT_EQ(run(open_in(1, other), context_load(again)).code, 0U);
}

TEST_F(Pools, ASessionWhoseConnectionIsGoneMakesRoomAfterItsLease) {
  const Pool two{.id = {7}, .sessions = 2};
  const auto a = open_in(1, two), b = open_in(2, two);
  const auto older = run(a, context_save(session(a))).parameters;
  const auto newer = run(a, context_save(session(a))).parameters;
  now_ += 2 * kLease;
  EXPECT_EQ(hmac_session(b), kNoMoreSessions) << "idle, but somebody has them";
  engine_->close(a);
  EXPECT_EQ(run(b, start_session(SessionType::kHmac, kNull, 0x80000000)).code, kReferenceH0 + 1);
  EXPECT_EQ(engine_->snapshot().sessions_client_saved, 2U) << "nothing goes for what is refused";
  EXPECT_EQ(hmac_session(b), 0U);
  ASSERT_EQ(account_.reclaimed.size(), 1U);
  EXPECT_EQ(account_.reclaimed[0].owner, 1U);
  EXPECT_EQ(engine_->sessions().waiting.size(), 0U);
  // The oldest is gone; its client is told, and the other session is unchanged.
  const auto back = open_in(1, two);
  EXPECT_EQ(run(back, context_load(older)).code, kUnknownFile);
  EXPECT_EQ(run(back, context_load(newer)).code, 0U);
  now_ += 2 * kLease;
  EXPECT_EQ(hmac_session(b), kNoMoreSessions) << "it is somebody's again";
}

TEST_F(Pools, ASavedSessionIsPromisedForALeaseFromThen) {
  const Pool one{.id = {7}, .sessions = 1};
  for (const bool loaded : {true, false}) {
    const auto a = open_in(1, one), other = open(9), b = open_in(2, one);
    const auto handle = session(a);
    if (!loaded)
      for (int i = 0; i < 3; ++i) session(other);  // it has to leave its place, so its context is known
    now_ += kLease;
    const auto file = run(a, context_save(handle)).parameters;
    engine_->close(a);
    now_ += kLease / 2;
    EXPECT_EQ(hmac_session(b), kNoMoreSessions);
    EXPECT_EQ(run(open_in(1, one), context_load(file)).code, 0U);
    start();
  }
}

TEST_F(Pools, APolicyThatBecomesOrdinaryMakesRoomAsWell) {
  const Pool one{.id = {7}, .sessions = 1};
  const auto a = open_in(1, one), b = open_in(2, one);
  const auto file = run(a, context_save(session(a))).parameters;
  engine_->close(a);
  const auto policy = stepped(b);
  EXPECT_EQ(run(b, policy_auth_value(policy)).code, kNoMoreSessions);
  now_ += kLease;
  EXPECT_EQ(run(b, policy_nv_written(policy)).code, 0U);
  EXPECT_EQ(engine_->snapshot().sessions_client_saved, 1U) << "that takes nothing";
  EXPECT_EQ(run(b, policy_auth_value(policy)).code, 0U);
  EXPECT_EQ(run(open_in(1, one), context_load(file)).code, kUnknownFile);
}

// The chip is used up as well: what is left behind in the pool was all that the bank could not count on.
TEST_F(Pools, RoomInAPoolIsRoomInTheChip) {
  const Pool one{.id = {7}, .sessions = 1};
  const auto a = open_in(1, one), b = open_in(2, one);
  EXPECT_EQ(run(a, context_save(session(a))).code, 0U);
  engine_->close(a);
  space::SpaceLimits greedy;
  greedy.terms.claim = 60;
  greedy.terms.exhaustion = space::Exhaustion::kRefuse;
  const auto hoarder = open(3, greedy);
  EXPECT_EQ(hmac_session(hoarder), 0U);
  while (hmac_session(hoarder) == 0) {
  }
  now_ += kLease;
  EXPECT_EQ(hmac_session(b), 0U);
  EXPECT_EQ(account_.waited, std::nullopt);
}

TEST_F(Pools, ASpaceOfTwoPoolsHasTheLessOfBoth) {
  const Pool wide{.id = {7}, .objects = 3}, narrow{.id = {8}, .objects = 1};
  const auto a = open_in(1, wide, narrow), b = open_in(2, wide);
  EXPECT_EQ(key(a), 0U);
  EXPECT_EQ(key(a), kNoMoreObjects);
  EXPECT_EQ(key(b), 0U);
  EXPECT_EQ(key(b), 0U);
  EXPECT_EQ(key(b), kNoMoreObjects);
}

TEST_F(Pools, NewLimitsCountTheSessionsHeld) {
  const Pool two{.id = {7}, .sessions = 2, .objects = 2}, other{.id = {8}, .sessions = 2, .objects = 2};
  const auto a = open_in(1, two), b = open_in(2, two), c = open_in(3, other);
  EXPECT_EQ(key(a), 0U);
  EXPECT_EQ(hmac_session(a), 0U);
  EXPECT_EQ(key(b), 0U);
  EXPECT_EQ(key(b), kNoMoreObjects);
  engine_->set_limits(a, in(other));
  EXPECT_EQ(key(b), 0U) << "there is room again";
  EXPECT_EQ(key(c), 0U);
  EXPECT_EQ(key(c), kNoMoreObjects) << "it brought its own here";
  EXPECT_EQ(hmac_session(c), 0U);
  EXPECT_EQ(hmac_session(c), kNoMoreSessions);
  // A smaller limit takes nothing away.
  engine_->set_limits(b, in({.id = {7}, .objects = 1}));
  EXPECT_EQ(run(b, sign(0x80000000)).code, 0U);
  EXPECT_EQ(key(b), kNoMoreObjects);
}

TEST_F(Pools, BooksKeepThem) {
  const Pool one{.id = {7}, .sessions = 1, .objects = 1};
  const auto a = open_in(1, one), b = open_in(2, one);
  EXPECT_EQ(key(a), 0U);
  const auto handle = session(a);
  EXPECT_EQ(run(a, context_save(handle)).code, 0U);
  engine_->close(a);
  EXPECT_EQ(key(b), 0U);
  const auto image = engine_->save_books();
  auto second =
      std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  ASSERT_TRUE(second->restore_books(image));
  EXPECT_EQ(second->save_books(), image);
  engine_ = std::move(second);
  EXPECT_EQ(key(b), kNoMoreObjects);
  EXPECT_EQ(hmac_session(b), kNoMoreSessions);
}

}  // namespace
}  // namespace tpmspace::engine
