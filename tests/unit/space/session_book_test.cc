// Admission, places and the end of sessions: by hand-made books, without a TPM.
#include "space/session_book.h"

#include <gtest/gtest.h>

#include "../../support/tpm_commands.h"
#include "support.h"

namespace tpmspace::space {
namespace {

using namespace support;
using Want = SessionBook::Want;
using Admission = SessionBook::Admission;

class SessionBookTest : public testing::Test {
 protected:
  SessionBookTest() { chip_.active_sessions = 8; }

  SpaceId open(std::uint64_t owner, const SpaceLimits& limits = {}) {
    return open_space(books_, OwnerId{owner}, limits);
  }
  Session& add(SpaceId space) {
    const auto number = static_cast<std::uint32_t>(books_.sessions.size());
    Session session;
    session.handle = 0x02000000 + number;
    session.client = {session.handle};
    session.owner = books_.spaces.at(space).owner;
    session.space = space;
    session.last_use = ++books_.tick;
    session.started_at = books_.tick;
    session.context = {1};
    session.sequence = ++books_.newest_sequence;
    return books_.sessions.emplace(number, std::move(session)).first->second;
  }
  static wire::Command start(SessionType type) {
    return *wire::Command::parse(start_session(type), wire::CommandTable::builtin(), 4096);
  }
  Session parked(SpaceId space, std::uint32_t number) {
    Session out;
    out.handle = 0x03000000 | number;
    out.client = {out.handle};
    out.kind = SessionKind::kPolicy;
    out.owner = books_.spaces.at(space).owner;
    out.space = space;
    out.log = log_of_start(start(SessionType::kPolicy));
    return out;
  }
  void expect_right() { EXPECT_EQ(check(books_, chip_), std::nullopt) << *check(books_, chip_); }

  std::uint64_t now_ = 1000;
  Chip chip_;
  Quota quota_;
  Books books_;
  NoTpm tpm_;
  TpmPort port_{tpm_, wire::CommandTable::builtin(), [this] { return now_; }};
  Recovery recovery_{books_, chip_, port_};
  Residency residency_{books_, chip_, port_, recovery_};
  Parking parking_{books_, chip_, quota_, port_, recovery_, residency_};
  SessionBook book_{books_, chip_, quota_, port_, residency_, parking_};
};

TEST_F(SessionBookTest, OnlyARebuildableSessionWantsNoMoreThanANumber) {
  const SpaceId space = open(1);
  set_rules(books_, ShareRule::of(1 << 20, 1 << 10), ShareRule::of(1 << 20, 1 << 10));
  EXPECT_EQ(book_.want(space, start(SessionType::kHmac)), Want::kOrdinary);
  EXPECT_EQ(book_.want(space, start(SessionType::kPolicy)), Want::kNumber);
  EXPECT_EQ(book_.want(space, *wire::Command::parse(get_random(), wire::CommandTable::builtin(), 4096)),
            Want::kNothing);
}

TEST_F(SessionBookTest, ASpaceAtItsLimitIsNeverAdmitted) {
  const SpaceId space = open(1, {.sessions = 1});
  EXPECT_EQ(book_.admission(space, start(SessionType::kHmac)), Admission::kNow);
  (void)add(space);
  EXPECT_EQ(book_.admission(space, start(SessionType::kHmac)), Admission::kNever);
}

TEST_F(SessionBookTest, ASpaceThatWasGivenUpIsNeverAdmitted) {
  const SpaceId space = open(1);
  empty_space(books_, space);
  EXPECT_EQ(book_.admission(space, start(SessionType::kHmac)), Admission::kNever);
  expect_right();
}

TEST_F(SessionBookTest, TheBankKeepsEnoughForEveryTask) {
  const SpaceId hoarder = open(1), other = open(2);
  int held = 0;
  while (book_.admission(hoarder, start(SessionType::kHmac)) == Admission::kNow) (void)add(hoarder), ++held;
  EXPECT_LE(held, 8);
  EXPECT_EQ(book_.admission(other, start(SessionType::kHmac)), Admission::kNotNow);
}

TEST_F(SessionBookTest, APlaceIsKeptForAnOwnerThatHadWaited) {
  const SpaceId space = open(1);
  add(space).served_at = 900;
  const auto before = book_.before(space);
  EXPECT_EQ(before.ordinary, 1U);
  book_.drop(0);
  book_.settle_places(before, nullptr);
  EXPECT_EQ(books_.kept_places.of(OwnerId{1}), 1U);
  const auto again = book_.before(space);
  Session& next = add(space);
  book_.settle_places(again, &next);
  EXPECT_EQ(books_.kept_places.of(OwnerId{1}), 0U);
  EXPECT_EQ(next.served_at, 900U) << "the place was waited for, not this session";
}

TEST_F(SessionBookTest, AClosingSpaceLeavesOnlyWhatItsClientSaved) {
  SpaceLimits limits;
  limits.pools[0].id = {5};
  const SpaceId space = open(1, limits);
  Session& saved = add(space);
  saved.client_saved = true;
  (void)add(space);
  (void)add_parked(books_, parked(space, 6));
  book_.leave(space);
  erase_space(books_, space);
  ASSERT_EQ(books_.sessions.size(), 1U);
  EXPECT_EQ(books_.sessions.begin()->second.space, SpaceId{});
  EXPECT_EQ(books_.sessions.begin()->second.left_pools[0], PoolId{5});
  EXPECT_EQ(books_.unwanted_sessions.size(), 1U);
  EXPECT_TRUE(books_.parked.empty());
  expect_right();
}

TEST_F(SessionBookTest, AnOwnerMayLeaveOnlySoManyBehind) {
  quota_.abandoned_sessions_per_owner = 2;
  const SpaceId space = open(1);
  for (int i = 0; i < 4; ++i) add(space).client_saved = true;
  book_.leave(space);
  erase_space(books_, space);
  EXPECT_EQ(books_.sessions.size(), 2U);
  EXPECT_EQ(books_.sessions.count(0) + books_.sessions.count(1), 0U) << "the longest idle are dropped";
  EXPECT_EQ(port_.cost().let_go.size(), 2U);
  expect_right();
}

TEST_F(SessionBookTest, SessionsLastUsedAtTheSameTimeAllCount) {
  const SpaceId space = open(1);
  for (int i = 0; i < 6; ++i) {
    Session& session = add(space);
    session.client_saved = true;
    session.last_use = 1;
  }
  book_.leave(space);
  erase_space(books_, space);
  EXPECT_EQ(books_.sessions.size(), chip_.active_sessions / 2);
  expect_right();
}

TEST_F(SessionBookTest, ATakenSessionLeavesATombstoneUntilItsClientKnows) {
  const SpaceId space = open(1);
  (void)add_parked(books_, parked(space, 6));
  book_.take_parked_one({space, 6}, {wire::Taker::Why::kOrder});
  const auto& stones = books_.spaces.at(space).tombstones;
  ASSERT_EQ(stones.count(6), 1U);
  EXPECT_FALSE(stones.at(6).told);
  book_.tell(space, 0x03000006);
  EXPECT_TRUE(stones.at(6).told);
  ASSERT_EQ(port_.cost().reclaimed.size(), 1U);
  EXPECT_EQ(port_.cost().reclaimed[0].handle, 0x03000006U);
  expect_right();
}

TEST_F(SessionBookTest, ASessionWithoutAClientCannotBeReserved) {
  const SpaceId space = open(1);
  Session& session = add(space);
  EXPECT_EQ(book_.reserve(7), wire::rc::kReferenceH0) << "none has the number";
  session.client_saved = true;
  EXPECT_EQ(book_.reserve(0), wire::rc::kReferenceH0);
  session.client_saved = false;
  session.context.clear();
  EXPECT_EQ(book_.reserve(0), wire::rc::kSuccess);
  EXPECT_TRUE(session.reserved);
  book_.release(0);
  EXPECT_FALSE(session.reserved);
}

}  // namespace
}  // namespace tpmspace::space
