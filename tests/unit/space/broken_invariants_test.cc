// Bugs that the manager contains: its books are broken by hand, and no process ends.
#include "base/invariant.h"
#include "manager_on_libtpms.h"

namespace tpmspace::space {
namespace {

class BrokenInvariantsTest : public ManagerOnLibtpms {
 protected:
  void SetUp() override {
    ManagerOnLibtpms::SetUp();
    one_ = manager_->open(OwnerId{1}, {});
    other_ = manager_->open(OwnerId{2}, {});
  }

  base::ContainBrokenInvariants contain_;
  SpaceId one_, other_;
};

TEST_F(BrokenInvariantsTest, ASlotWithAnUnknownObjectCostsOnlyThatObject) {
  const auto lost = key(one_), kept = key(other_);
  change_books([&](Books& books) {
    erase_object(books, one_, {lost});
    ASSERT_EQ(books.slots.size(), 2U);
  });
  ASSERT_NE(wrong(), "");
  std::uint32_t broken = 0;
  for (int i = 0; i < 4; ++i) {
    const Outcome made = run(other_, create_primary(kOwner, ecc_signing_template()));
    EXPECT_EQ(made.code, 0U);
    broken += made.cost.broken.count;
  }
  EXPECT_GT(broken, 0U);
  EXPECT_EQ(wrong(), "");
  EXPECT_EQ(run(other_, read_public(kept)).code, 0U);
  EXPECT_EQ(run(one_, read_public(lost)).code, 0x000B0910U);
}

// The object of a space that is nowhere, and in that space or another a value that no repair can find.
class BooksBeyondRepair : public BrokenInvariantsTest {
 protected:
  void break_and_use(SpaceId with_wrong_value) {
    const auto lost = key(one_);
    kept_ = key(other_);
    change_books([&](Books& books) {
      books.slots.front().space = SpaceId{};
      books.spaces.at(with_wrong_value).taken_objects.insert(1);  // not a transient handle
    });
    const Outcome outcome = run(one_, read_public(lost));
    EXPECT_EQ(outcome.code, wire::from_manager(wire::rc::kFailure));
    EXPECT_EQ(outcome.cost.broken.count, 1U);
    EXPECT_EQ(wrong(), "");
  }

  std::uint32_t kept_ = 0;
};

TEST_F(BooksBeyondRepair, OfTheSpaceInUseEndThatSpaceOnly) {
  break_and_use(one_);
  EXPECT_EQ(run(one_, get_random()).code, 0x000B0905U);
  EXPECT_EQ(run(other_, read_public(kept_)).code, 0U);
}

TEST_F(BooksBeyondRepair, OfAnotherSpaceEndAllObjectsButNoProcess) {
  break_and_use(other_);
  EXPECT_EQ(run(other_, read_public(kept_)).code, 0x000B0910U);
  EXPECT_EQ(run(one_, get_random()).code, 0U);
  EXPECT_NE(key(other_), 0U);
}

TEST_F(BrokenInvariantsTest, ASpaceThatIsNotOpenGetsAnError) {
  const Outcome outcome = run(SpaceId{77}, get_random());
  EXPECT_EQ(outcome.code, wire::from_manager(wire::rc::kFailure));
  EXPECT_EQ(outcome.cost.broken.count, 1U);
  EXPECT_EQ(wrong(), "");
}

TEST_F(BrokenInvariantsTest, ASessionOfAnUnknownSpaceIsFlushed) {
  const auto kept = session(other_);
  (void)session(one_);
  change_books([&](Books& books) {
    for (auto& [number, session] : books.sessions)
      if (session.space == one_) session.space = SpaceId{99};
  });
  ASSERT_NE(wrong(), "");
  EXPECT_EQ(run(other_, start_session(SessionType::kHmac)).code, 0U);
  while (manager_->tidy()) {
  }
  EXPECT_EQ(wrong(), "");
  EXPECT_EQ(manager_->books().sessions.size(), 2U);
  EXPECT_EQ(run(other_, flush_context(kept)).code, 0U);
}

TEST_F(BrokenInvariantsTest, WrongSumsAreAddedUpAgain) {
  (void)key(one_);
  change_books([](Books& books) { books.held = {}; });
  (void)run(one_, flush_context(wire::kFirstTransient));
  (void)run(one_, get_random());
  EXPECT_EQ(wrong(), "");
}

}  // namespace
}  // namespace tpmspace::space
