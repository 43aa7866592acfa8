// Faults of the engine that the simulated worlds found, each as the few commands that show it. A found fault is a test
// for ever; the worlds' seeds are kept too (seeds.txt), but a seed means something else as soon as a generator changes.
#include <gtest/gtest.h>

#include "digest.h"
#include "engine_on_model.h"
#include "object_slots.h"

namespace tpmspace::simulation {
namespace {

using engine::ConnectionId;
using speech::Heard;

constexpr std::uint32_t kOwner = 0x40000001;
constexpr std::uint32_t kNull = 0x40000007;
constexpr std::uint32_t kEndorsement = 0x4000000B;
constexpr std::uint32_t kPlatform = 0x4000000C;
const speech::Auths kEmptyPassword = {speech::Auth{}};

class EngineOnModel : public EngineOnModelTpm {
 protected:
  using EngineOnModelTpm::EngineOnModelTpm;

  ConnectionId open(std::uint64_t owner = 1) { return engine_->open(space::OwnerId{owner}, {}); }

  void idle() {
    for (int i = 0; i < 1000 && !engine_->step(clock_.now()).idle; ++i) clock_.advance(1'000'000);
  }

  Heard primary(ConnectionId who, std::uint32_t hierarchy, std::uint64_t individual) {
    return say(who, speech::create_primary(hierarchy, kEmptyPassword, speech::Template::kHmacKey, individual, {}));
  }
  Heard sign(ConnectionId who, std::uint32_t key) {
    return say(who, speech::sign(key, kEmptyPassword, sha256({text("data")})));
  }
  Heard start_session(ConnectionId who) {
    return say(who, speech::start_auth_session(kNull, kNull, speech::SessionKind::kHmac));
  }

  void expect_books_agree() {
    EXPECT_FALSE(engine_->check());
    EXPECT_EQ(engine_->snapshot().objects_loaded, model_.loaded_objects().size());
    EXPECT_EQ(engine_->snapshot().sessions_loaded, model_.loaded_sessions().size());
  }
};

TEST_F(EngineOnModel, AnEmptiedHierarchyAlsoEmptiesUnwantedSlots) {
  const auto leaving = open();
  const auto staying = open();
  ASSERT_TRUE(primary(leaving, kEndorsement, 1).ok());
  engine_->close(leaving);
  ASSERT_TRUE(say(staying, speech::clear(kPlatform, kEmptyPassword)).ok());
  expect_books_agree();
  // The slot is taken again; no cleanup for the closed connection may flush it.
  const auto key = primary(staying, kOwner, 2);
  idle();
  EXPECT_TRUE(sign(staying, key.handle).ok());
  expect_books_agree();
}

TEST_F(EngineOnModel, PowerLossThatOneOfOurOwnCommandsMeetsIsRepairedBeforeTheClientIsAnswered) {
  const auto a = open();
  const auto b = open();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(primary(a, kOwner, i).ok());
  model_.power_cycle();
  // Needs a slot, so an eviction meets the power loss.
  const auto key = primary(b, kOwner, 9);
  EXPECT_EQ(key.code, 0U);
  EXPECT_TRUE(sign(b, key.handle).ok());
  EXPECT_EQ(wire::without_layer(sign(a, 0x80000000).code), 0x910U);
  expect_books_agree();
}

TEST_F(EngineOnModel, AResetAfterClearIsNoticedAlthoughTheCountersAreEqualAgain) {
  const auto a = open();
  ASSERT_EQ(chip_.reset_count, 1U);
  ASSERT_TRUE(say(a, speech::clear(kPlatform, kEmptyPassword)).ok());  // the TPM counts from 0 again
  for (std::uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(primary(a, kOwner, i).ok());
  model_.power_cycle();
  EXPECT_EQ(wire::without_layer(sign(a, 0x80000000).code), 0x910U);
  EXPECT_EQ(engine_->snapshot().objects, 0U);
  expect_books_agree();
}

TEST_F(EngineOnModel, ClearIsNotTakenForAResetLater) {
  const auto a = open();
  ASSERT_TRUE(say(a, speech::clear(kPlatform, kEmptyPassword)).ok());
  const auto key = primary(a, kOwner, 1);
  const auto session = start_session(a);
  model_.faults().script({Fault{Fault::Kind::kGarbage}});  // makes the engine ask the TPM for its contents
  EXPECT_EQ(say(a, speech::get_random(8)).code, wire::from_manager(wire::rc::kFailure));
  EXPECT_TRUE(sign(a, key.handle).ok());
  EXPECT_TRUE(say(a, speech::flush_context(session.handle)).ok());
  expect_books_agree();
}

TEST_F(EngineOnModel, AnInterruptedComparisonWithTheTpmIsTakenUpAgain) {
  const auto a = open();
  constexpr Fault kThrough{};
  model_.faults().script({Fault{Fault::Kind::kDoneThenLost}, kThrough, Fault{Fault::Kind::kGarbage}});
  EXPECT_FALSE(start_session(a).ok());
  EXPECT_FALSE(model_.loaded_sessions().empty());
  static_cast<void>(say(a, speech::get_random(8)));
  idle();
  EXPECT_TRUE(model_.loaded_sessions().empty()) << "a session that nobody knows was left in the TPM";
  expect_books_agree();
}

TEST_F(EngineOnModel, AFlushThatMeetsARestartIsDoneAfterwards) {
  const auto leaving = open();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(start_session(leaving).ok());
  ASSERT_EQ(model_.saved_session_numbers().size(), 3U);
  engine_->close(leaving);
  // Saved sessions survive a TPM Restart, loaded sessions do not (tpm-behaviour 16).
  static_cast<void>(model_.transact(speech::shutdown(true), 0));
  model_.power_cycle();
  idle();
  EXPECT_TRUE(model_.saved_session_numbers().empty()) << "a session of nobody was left in the TPM";
  expect_books_agree();
}

TEST_F(EngineOnModel, BooksWithATrialSessionAreTakenBack) {
  const auto a = open();
  const auto trial = say(a, speech::start_auth_session(kNull, kNull, speech::SessionKind::kTrial));
  ASSERT_TRUE(say(a, speech::policy_command_code(trial.handle, wire::cc::kUnseal)).ok());
  const auto books = engine_->save_books();
  engine_ = std::make_unique<engine::Engine>(meddler_, wire::CommandTable::builtin(), chip_, engine::Config{},
                                             [this] { return clock_.now(); });
  ASSERT_TRUE(engine_->restore_books(books));
  EXPECT_EQ(engine_->save_books(), books);
}

class ParkedFiles : public EngineOnModel {
 protected:
  using EngineOnModel::EngineOnModel;

  Heard policy_session(ConnectionId who) {
    return say(who, speech::start_auth_session(kNull, kNull, speech::SessionKind::kPolicy));
  }
  Heard step(ConnectionId who, std::uint32_t session) {
    return say(who, speech::policy_command_code(session, wire::cc::kUnseal));
  }
  // Others need all numbers, and are gone again.
  void crowd() {
    std::vector<ConnectionId> others;
    for (std::uint32_t i = 0; i < chip_.active_sessions; ++i) {
      others.push_back(open(100 + i));  // each owner is below the share
      ASSERT_TRUE(step(others.back(), policy_session(others.back()).handle).ok());
    }
    EXPECT_GT(engine_->snapshot().sessions_parked, 0U);
    for (const auto one : others) engine_->close(one);
    idle();
  }
};

TEST_F(ParkedFiles, CountForTheirSpacesLimitWhereverTheyAre) {
  space::SpaceLimits limits;
  limits.sessions = 3;
  const auto a = engine_->open(space::OwnerId{1}, limits);
  for (int i = 0; i < 3; ++i) {
    const auto session = policy_session(a);
    ASSERT_TRUE(step(a, session.handle).ok());
    ASSERT_TRUE(say(a, speech::context_save(session.handle)).ok());
  }
  EXPECT_EQ(policy_session(a).code, wire::from_manager(wire::rc::kSessionHandles));
  crowd();
  EXPECT_EQ(engine_->snapshot().sessions_parked, 3U);
  EXPECT_EQ(policy_session(a).code, wire::from_manager(wire::rc::kSessionHandles));
}

TEST_F(ParkedFiles, OfSeveralByOneNumberAllAreFlushedWhereverTheyAre) {
  const auto a = open(), b = open();
  const auto newer = policy_session(b);
  ASSERT_TRUE(step(b, newer.handle).ok());
  crowd();
  const auto older = policy_session(a);
  ASSERT_EQ(older.handle, newer.handle);
  ASSERT_TRUE(say(a, speech::policy_secret(kOwner, older.handle, kEmptyPassword)).ok());  // it cannot leave
  const auto older_file = say(a, speech::context_save(older.handle)).parameters;
  const auto newer_file = say(b, speech::context_save(newer.handle)).parameters;
  crowd();
  ASSERT_EQ(engine_->snapshot().sessions_parked, 1U);
  EXPECT_TRUE(say(open(), speech::flush_context(older.handle)).ok());
  EXPECT_EQ(engine_->snapshot().sessions_parked, 0U);
  EXPECT_EQ(say(b, speech::context_load(newer_file)).code, 0x000B01CBU);
  EXPECT_EQ(say(a, speech::context_load(older_file)).code, 0x000B01CBU);
}

TEST_F(EngineOnModel, AnEntityWithoutAnAuthorizationValueIsNotAnsweredLockout) {
  space::SpaceLimits limits;
  limits.shares_tries = true;
  const auto who = engine_->open(space::OwnerId{1}, limits);
  const auto session = start_session(who);
  const auto key =
      say(who, speech::create_primary(kOwner, kEmptyPassword, speech::Template::kProtectedKey, 1, wire::Bytes{7}));
  ASSERT_EQ(sign(who, key.handle).code, 0x922U) << "the first use of something protected";
  ASSERT_EQ(sign(who, key.handle).code, 0x98EU);
  ASSERT_EQ(sign(who, key.handle).code, 0x000B0921U) << "it has no tries left";
  EXPECT_EQ(sign(who, session.handle).code, 0x184U) << "a session is no key";
  EXPECT_EQ(sign(who, 0x90000000).code, 0x184U) << "nor is an attached component";
}

class ParkedOnOldChip : public ParkedFiles {
 protected:
  ParkedOnOldChip() : ParkedFiles(old_chip()) {}

 private:
  static ModelTpm::Limits old_chip() {
    ModelTpm::Limits limits;
    limits.context_gap = 255;
    return limits;
  }
};

TEST_F(ParkedOnOldChip, ASessionInTheWayOfANumberStaysWhenTheGapMustBeKeptOpen) {
  // A cluster of old contexts, so that keeping the gap open takes many saves.
  const auto old = open(3);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(say(old, speech::context_save(start_session(old).handle)).ok());
  const auto a = open();
  const auto parked = policy_session(a);
  ASSERT_TRUE(step(a, parked.handle).ok());
  crowd();
  ASSERT_EQ(engine_->snapshot().sessions_parked, 1U);
  // Another program has the number that would be the next.
  const auto others = model_.transact(speech::start_auth_session(kNull, kNull, speech::SessionKind::kHmac), 0);
  ASSERT_TRUE(others);
  for (int i = 0; i < 300; ++i) {
    const auto session = start_session(a);
    ASSERT_TRUE(session.ok()) << i;
    ASSERT_NE(wire::number_of(session.handle), wire::number_of(parked.handle));
    ASSERT_TRUE(say(a, speech::context_save(session.handle)).ok());
    ASSERT_TRUE(say(a, speech::flush_context(session.handle)).ok());
    ASSERT_EQ(engine_->check(), std::nullopt);
  }
}

}  // namespace
}  // namespace tpmspace::simulation
