// Room for the contexts of keys and hash sequences, on libtpms: the room kept for administrators and for new owners,
// and the choice of dropped idle objects.
#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

constexpr Rc kNoContextRoom = 0x000B0902, kGone = 0x000B0910;

class ContextRoom : public EngineOnLibtpms {
 protected:
  // Room for about two hundred objects; its rule has fourteen minimums.
  void SetUp() override {
    Config config;
    config.max_bytes = 256 << 10;
    start(65535, config);
  }
  // Hash sequences, until there is no more room.
  std::vector<std::uint32_t> fill(ConnectionId c) {
    std::vector<std::uint32_t> out;
    for (;;) {
      const auto made = run(c, hash_start());
      if (made.code != 0) {
        EXPECT_EQ(made.code, kNoContextRoom);
        return out;
      }
      out.push_back(made.handle);
    }
  }
  void pass_lease() { now_ += 2 * space::SessionTerms{}.lease; }
};

TEST_F(ContextRoom, ThereIsSomeForNewcomersAndAdministratorsHoweverManyHaveFilledTheirShares) {
  for (std::uint64_t owner = 1; owner <= 13; ++owner) (void)fill(open(owner));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(open(50), create_primary(kOwner)).code, 0U) << "of a newcomer, " << i;
  const auto administrator = open(60, {.administers = true});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(administrator, create_primary(kOwner)).code, 0U) << "an administrator's";
  EXPECT_LE(engine_->snapshot().bytes, 256U << 10);
}

TEST_F(ContextRoom, AnIdleHoarderGivesBackItsOldestObjectsAndIsToldOfEachOnce) {
  const auto hoarder = open(1), other = open(2);
  const auto hoard = fill(hoarder);
  const auto before = fill(other).size();
  pass_lease();
  ASSERT_EQ(run(hoarder, sequence_update(hoard.front(), Bytes(4))).code, 0U) << "used, so it is not idle";
  ASSERT_EQ(run(other, hash_start()).code, 0U) << "it has less than the hoarder";
  ASSERT_FALSE(account_.reclaimed.empty());
  EXPECT_EQ(account_.reclaimed.front().owner, 1U);
  EXPECT_EQ(account_.reclaimed.front().handle, hoard[1]);
  EXPECT_EQ(account_.reclaimed.front().by.why, observe::Taker::Why::kRoom);
  EXPECT_EQ(account_.reclaimed.front().by.waiter, 2U);
  ASSERT_GE(account_.reclaimed.size(), 2U);
  const auto second = account_.reclaimed[1].handle;

  // The handles mean no other object until the client knows.
  EXPECT_EQ(run(hoarder, flush_context(hoard.back())).code, 0U);
  EXPECT_EQ(run(hoarder, flush_context(hoard[hoard.size() - 2])).code, 0U);
  EXPECT_EQ(run(hoarder, sequence_update(hoard[1], Bytes(4))).code, kGone);
  EXPECT_EQ(run(hoarder, flush_context(hoard[1])).code, 0x000B01CBU) << "once";
  EXPECT_EQ(run(hoarder, flush_context(second)).code, 0U) << "a client that lets go of it is not told";
  EXPECT_EQ(run(hoarder, sequence_update(hoard.front(), Bytes(4))).code, 0U);

  // Until both have as much.
  const auto more = fill(other).size();
  EXPECT_GT(more, 0U);
  const auto left = [&] {
    std::size_t out = 0;
    for (const auto handle : hoard) out += run(hoarder, flush_context(handle)).code == 0 ? 1U : 0U;
    return out;
  }();
  EXPECT_GE(left, before);
}

TEST_F(ContextRoom, NothingIsTakenWithinTheLeaseOrForOneThatTakesNothingFromAnybody) {
  const auto hoarder = open(1), other = open(2);
  const auto waits = open(2, {.terms = {.exhaustion = space::Exhaustion::kWait}});
  (void)fill(hoarder);
  (void)fill(other);
  EXPECT_EQ(run(other, hash_start()).code, kNoContextRoom);
  pass_lease();
  EXPECT_EQ(run(waits, hash_start()).code, kNoContextRoom);
  EXPECT_EQ(run(other, hash_start()).code, 0U);
}

TEST_F(ContextRoom, NothingIsTakenFromAnEndlessLease) {
  const auto hoarder = open(1, {.terms = {.lease = space::SessionTerms::kEndless}}), other = open(2);
  (void)fill(hoarder);
  (void)fill(other);
  pass_lease();
  EXPECT_EQ(run(other, hash_start()).code, kNoContextRoom);
}

TEST_F(ContextRoom, TakenObjectsArePartOfTheBooks) {
  const auto hoarder = open(1), other = open(2);
  const auto hoard = fill(hoarder);
  (void)fill(other);
  pass_lease();
  ASSERT_EQ(run(other, hash_start()).code, 0U);
  const Bytes books = engine_->save_books();
  ASSERT_TRUE(engine_->restore_books(books));
  EXPECT_EQ(engine_->save_books(), books);
  EXPECT_EQ(run(hoarder, sequence_update(hoard[0], Bytes(4))).code, kGone);
}

}  // namespace
}  // namespace tpmspace::engine
