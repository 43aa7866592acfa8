// What a command needs, by hand-made books; and whether the estimate of the swaps is what the manager then does.
#include "space/plan.h"

#include <gtest/gtest.h>

#include "manager_on_libtpms.h"

namespace tpmspace::space {
namespace {

constexpr std::uint32_t kPersistent = 0x81000001;

class PlanTest : public testing::Test {
 protected:
  void SetUp() override {
    space_ = open_space(books_, OwnerId{1}, {});
    other_ = open_space(books_, OwnerId{2}, {});
    (void)add_object(books_, space_, {0x80000000}, {.context = {1}});
    (void)add_object(books_, space_, {0x80000001}, {.context = {1}});
    add_session(space_, 3);
    add_session(space_, 9);
    add_session(other_, 5);
  }
  Session& add_session(SpaceId space, std::uint32_t number) {
    Session session;
    session.handle = 0x02000000 | number;
    session.client = {session.handle};
    session.owner = books_.spaces.at(space).owner;
    session.space = space;
    return books_.sessions[number] = session;
  }
  Plan plan(const Bytes& bytes) {
    commands_.push_back(
        std::make_unique<wire::Command>(*wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096)));
    return make_plan(books_, chip_, space_, *commands_.back());
  }
  Rc refusal(const Bytes& bytes) {
    const auto refusal = plan(bytes).refusal;
    return refusal ? refusal->code : wire::rc::kSuccess;
  }

  Chip chip_;
  Books books_;
  SpaceId space_, other_;
  std::vector<std::unique_ptr<wire::Command>> commands_;
};

TEST_F(PlanTest, NamesEachEntityOnce) {
  const auto certify =
      command(cc::kCertify, {0x80000000, 0x80000001}, join({authorization(0x02000003), authorization(0x02000003)}),
              Writer().tpm2b({}).u16(kAlgNull).take());
  const Plan planned = plan(certify);
  EXPECT_FALSE(planned.refusal);
  EXPECT_EQ(planned.objects, (std::vector{wire::ClientHandle{0x80000000}, wire::ClientHandle{0x80000001}}));
  EXPECT_EQ(planned.sessions, std::vector<std::uint32_t>{0x02000003});
  EXPECT_EQ(planned.free_slots, 0U);
}

TEST_F(PlanTest, APasswordIsNoSession) {
  EXPECT_TRUE(plan(sign(0x80000000)).sessions.empty()) << "though the space has a session 9";
}

TEST_F(PlanTest, CountsTheSlotsForResultsAndTemporaryNeeds) {
  EXPECT_EQ(plan(get_random()).free_slots, 0U);
  EXPECT_EQ(plan(create_primary(kOwner)).free_slots, 1U);
  EXPECT_EQ(plan(create(0x80000000)).free_slots, 1U);
  EXPECT_EQ(plan(create(kPersistent)).free_slots, 2U) << "the persistent parent is loaded, too";
  EXPECT_TRUE(plan(start_session(SessionType::kHmac)).starts_session);
}

TEST_F(PlanTest, RefusesInTheOrderOfTheTpm) {
  const auto two = [](std::uint32_t first, std::uint32_t second, std::uint32_t session) {
    return command(cc::kCertify, {first, second}, join({authorization(session), password()}),
                   Writer().tpm2b({}).u16(kAlgNull).take());
  };
  EXPECT_EQ(refusal(two(0x80000007, 0x80000008, 0x02000007)), 0x910U) << "the first handle";
  EXPECT_EQ(refusal(two(0x80000000, 0x80000008, 0x02000007)), 0x911U) << "the second handle";
  EXPECT_EQ(refusal(two(0x80000000, 0x80000001, 0x02000007)), 0x918U) << "then the session";
  EXPECT_EQ(refusal(two(0x80000000, 0x80000001, 0x02000005)), 0x918U) << "another space's session";
  EXPECT_EQ(refusal(two(0x80000000, 0x80000001, 0x020000FF)), 0x984U) << "a number that no session can have";
  EXPECT_EQ(refusal(two(0x80000000, 0x80000001, 0x02000003)), 0U);
}

TEST_F(PlanTest, TellsWhichHandleIsUnknown) {
  EXPECT_EQ(plan(read_public(0x80000007)).refusal->unknown, 0x80000007U);
  EXPECT_EQ(plan(sign(0x80000000, authorization(0x02000007))).refusal->unknown, 0x02000007U);
  EXPECT_EQ(plan(sign(0x80000000, authorization(0x020000FF))).refusal->unknown, std::nullopt);
}

TEST_F(PlanTest, RefusesMoreSessionsThanTheChipLoads) {
  chip_.loaded_sessions = 1;
  const auto bytes = command(cc::kPolicySecret, {kOwner, 0x02000003}, authorization(0x02000009),
                             Writer().tpm2b({}).tpm2b({}).tpm2b({}).u32(0).take());
  EXPECT_EQ(refusal(bytes), wire::rc::kSessionMemory);
}

TEST_F(PlanTest, WithBooksInDoubtOnlyWhatNeedsNothingLoadedRuns) {
  books_.in_doubt = true;
  EXPECT_EQ(refusal(get_random()), 0U);
  EXPECT_EQ(refusal(read_public(kPersistent)), 0U);
  EXPECT_EQ(refusal(read_public(0x80000000)), wire::rc::kFailure);
  EXPECT_EQ(refusal(create_primary(kOwner)), wire::rc::kFailure);
}

TEST_F(PlanTest, AHandleOutsideOfTheWindowIsRefused) {
  SpaceLimits limits;
  limits.view = std::make_shared<const View>(
      View{.commands = wire::Numbers::all(), .persistent = wire::Numbers::all(), .persistent_base = 0x81100000});
  set_limits(books_, space_, limits);
  EXPECT_EQ(refusal(read_public(kPersistent)), 0U);
  EXPECT_EQ(refusal(read_public(0x81800000)), 0x18BU);
}

// --- the estimate

TEST_F(PlanTest, ARefusedCommandCostsNoSwap) {
  EXPECT_EQ(estimate(books_, chip_, plan(read_public(0x80000007))), Swaps{});
}

class EstimateTest : public ManagerOnLibtpms {
 protected:
  void SetUp() override {
    ManagerOnLibtpms::SetUp();
    for (std::uint64_t owner = 1; owner <= 2; ++owner) spaces_.push_back(manager_->open(OwnerId{owner}, {}));
  }
  // Runs the command and compares.
  void expect_as_estimated(SpaceId space, const Bytes& bytes) {
    const auto command = *wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    const Swaps swaps =
        estimate(manager_->books(), manager_->chip(), make_plan(manager_->books(), manager_->chip(), space, command));
    const Outcome outcome = run(space, bytes);
    EXPECT_EQ(outcome.code, 0U) << command.row().name;
    std::uint32_t loads = 0;
    for (const auto& use : outcome.cost.tpm) loads += use.cause == wire::Cause::kLoad ? 1U : 0U;
    EXPECT_EQ(swaps.objects_in + swaps.sessions_in, loads) << command.row().name;
    EXPECT_EQ(swaps.objects_out + swaps.sessions_out, outcome.cost.evictions) << command.row().name;
    EXPECT_EQ(swaps.rebuilds, outcome.cost.rebuilds);
    all_.objects_in += swaps.objects_in, all_.objects_out += swaps.objects_out;
    all_.sessions_in += swaps.sessions_in, all_.sessions_out += swaps.sessions_out;
  }

  std::vector<SpaceId> spaces_;
  Swaps all_;
};

TEST_F(EstimateTest, IsWhatTheManagerMoves) {
  const auto make_key = create_primary(kOwner, ecc_signing_template());
  for (int round = 0; round < 3; ++round)
    for (const SpaceId space : spaces_) {
      expect_as_estimated(space, make_key);
      expect_as_estimated(space, start_session(SessionType::kHmac));
    }
  for (const SpaceId space : spaces_) {
    std::vector<std::uint32_t> sessions;
    for (const auto& [number, one] : manager_->books().sessions)
      if (one.space == space) sessions.push_back(one.client.value);
    for (std::uint32_t i = 0; i < sessions.size(); ++i) {
      expect_as_estimated(space, sign(wire::kFirstTransient + i));
      expect_as_estimated(space, sign(wire::kFirstTransient + i, authorization(sessions[i])));
      expect_as_estimated(space, get_random());
    }
  }
  EXPECT_GT(all_.objects_in, 0U);
  EXPECT_GT(all_.objects_out, 0U);
  EXPECT_GT(all_.sessions_in, 0U);
  EXPECT_GT(all_.sessions_out, 0U);
}

}  // namespace
}  // namespace tpmspace::space
