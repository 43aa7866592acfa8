// Which entity leaves the TPM, on libtpms with hand-made books.
#include "space/residency.h"

#include <gtest/gtest.h>

#include <memory>

#include "../../support/meddled_tpm.h"
#include "../../support/tpm_commands.h"
#include "tpm/bring_up.h"
#include "tpm/embedded.h"

namespace tpmspace::space {
namespace {

using namespace support;
namespace rc = wire::rc;

class ResidencyTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = tpm::EmbeddedTpm::open("");
    ASSERT_TRUE(opened) << opened.error();
    libtpms_ = std::move(*opened);
    const auto facts = tpm::bring_up(*libtpms_, tpm::Kind::kEmbedded);
    ASSERT_TRUE(facts) << facts.error();
    chip_.object_slots = facts->object_slots;
    chip_.loaded_sessions = facts->loaded_sessions;
    tpm_ = std::make_unique<MeddledTpm>(*libtpms_);
    port_ = std::make_unique<TpmPort>(*tpm_, wire::CommandTable::builtin(), [this] { return ++now_; });
    recovery_ = std::make_unique<Recovery>(books_, chip_, *port_);
    residency_ = std::make_unique<Residency>(books_, chip_, *port_, *recovery_);
    space_ = open_space(books_, OwnerId{1}, {});
  }
  void TearDown() override { EXPECT_EQ(check(books_, chip_), std::nullopt) << *check(books_, chip_); }

  std::uint32_t make(const Bytes& bytes) {
    const auto answer = libtpms_->transact(bytes, 0);
    EXPECT_EQ(wire::read_header(*answer)->code, 0U);
    return wire::Reader(ByteView(*answer).subspan(wire::kHeaderSize)).u32().value_or(0);
  }
  // A loaded object of the space, booked; its handle in the space.
  wire::ClientHandle key() {
    const wire::TpmHandle at_tpm{make(create_primary(kOwner, ecc_signing_template()))};
    const wire::ClientHandle handle{wire::kFirstTransient + made_++};
    ++books_.tick;
    (void)add_object(books_, space_, handle, {.last_use = books_.tick, .seen_at = ++now_});
    books_.slots.push_back({at_tpm, space_, handle});
    return handle;
  }
  std::uint32_t session() {
    Session session;
    session.handle = make(start_session(SessionType::kHmac));
    session.client = {session.handle};
    session.owner = OwnerId{1};
    session.space = space_;
    session.last_use = ++books_.tick;
    session.seen_at = ++now_;
    const std::uint32_t number = wire::number_of(session.handle);
    books_.sessions[number] = session;
    return number;
  }
  void use(wire::ClientHandle handle) {
    ++books_.tick;
    (void)touch_object(books_, space_, handle, ++now_);
  }
  [[nodiscard]] bool is_loaded(wire::ClientHandle handle) const { return slot_of(books_, space_, handle) != nullptr; }
  std::size_t sent(wire::CommandCode code) { return tpm_->sent[code]; }

  std::uint64_t now_ = 0;
  std::uint32_t made_ = 0;
  Chip chip_;
  Books books_;
  std::unique_ptr<tpm::EmbeddedTpm> libtpms_;
  std::unique_ptr<MeddledTpm> tpm_;
  std::unique_ptr<TpmPort> port_;
  std::unique_ptr<Recovery> recovery_;
  std::unique_ptr<Residency> residency_;
  SpaceId space_;
};

TEST_F(ResidencyTest, TheLeastRecentlyUsedObjectLeaves) {
  const auto first = key(), second = key(), third = key();
  use(first);
  EXPECT_EQ(residency_->evict_object(), rc::kSuccess);
  EXPECT_TRUE(is_loaded(first) && is_loaded(third));
  EXPECT_FALSE(is_loaded(second));
  EXPECT_FALSE(find_object(books_, space_, second)->context.empty());
}

TEST_F(ResidencyTest, AnUnwantedObjectLeavesFirstAndIsNotSaved) {
  const auto first = key(), second = key();
  residency_->drop_object(space_, second);
  EXPECT_EQ(residency_->unwanted(), 1U);
  EXPECT_EQ(residency_->evict_object(), rc::kSuccess);
  EXPECT_TRUE(is_loaded(first));
  EXPECT_EQ(books_.slots.size(), 1U);
  EXPECT_EQ(sent(cc::kContextSave), 0U);
}

TEST_F(ResidencyTest, EntitiesOfTheCommandStay) {
  const auto handle = key();
  residency_->pin(books_.tick);
  EXPECT_EQ(residency_->evict_object(), rc::kObjectMemory);
  EXPECT_TRUE(is_loaded(handle));
  residency_->pin(0);
  EXPECT_EQ(residency_->evict_object(), rc::kSuccess);
}

TEST_F(ResidencyTest, IfOneCannotBeSavedTheNextLeaves) {
  const auto first = key(), second = key();
  int saves = 0;
  tpm_->refuse = [&](std::uint32_t code) {
    return code == cc::kContextSave && ++saves == 1 ? std::optional(rc::kMemory) : std::nullopt;
  };
  EXPECT_EQ(residency_->evict_object(), rc::kSuccess);
  EXPECT_TRUE(is_loaded(first));
  EXPECT_FALSE(is_loaded(second));
}

TEST_F(ResidencyTest, ALoadedObjectCostsNothingAndASavedObjectOneLoad) {
  const auto handle = key();
  EXPECT_TRUE(residency_->load_object(space_, handle).ok());
  EXPECT_EQ(sent(cc::kContextLoad), 0U);
  ASSERT_EQ(residency_->evict_object(), rc::kSuccess);
  EXPECT_TRUE(residency_->load_object(space_, handle).ok());
  EXPECT_EQ(sent(cc::kContextLoad), 1U);
  EXPECT_TRUE(is_loaded(handle));
  ASSERT_EQ(residency_->evict_object(), rc::kSuccess);
  EXPECT_EQ(sent(cc::kContextSave), 1U) << "an object's context stays valid";
}

TEST_F(ResidencyTest, AnotherSpacesTwinGivesItsSlot) {
  const auto handle = key();
  ASSERT_EQ(residency_->evict_object(), rc::kSuccess);
  ASSERT_TRUE(residency_->load_object(space_, handle).ok());
  const SpaceId child = open_space(books_, OwnerId{1}, {});
  Object* original = find_object(books_, space_, handle);
  original->twin = ++books_.last_twin;
  (void)add_object(books_, child, handle, Object(*original));
  const auto loads = sent(cc::kContextLoad);
  EXPECT_TRUE(residency_->load_object(child, handle).ok());
  EXPECT_EQ(sent(cc::kContextLoad), loads);
  EXPECT_NE(slot_of(books_, child, handle), nullptr);
  EXPECT_FALSE(is_loaded(handle));
}

TEST_F(ResidencyTest, SessionsLeaveByLastUseAndReservedSessionsStay) {
  const auto reserved = session(), second = session(), third = session();
  find_session(books_, reserved)->reserved = true;
  EXPECT_EQ(residency_->make_session_room(1), rc::kSuccess);
  EXPECT_TRUE(find_session(books_, reserved)->loaded());
  EXPECT_FALSE(find_session(books_, second)->loaded());
  EXPECT_TRUE(find_session(books_, third)->loaded());
  EXPECT_EQ(residency_->load_session(second), rc::kSuccess);
  EXPECT_TRUE(find_session(books_, second)->loaded());
}

TEST_F(ResidencyTest, AFillerTakesANumberUntilItIsFlushed) {
  const auto filler = residency_->add_filler();
  ASSERT_TRUE(filler);
  EXPECT_EQ(books_.unwanted_sessions.size(), 1U);
  EXPECT_FALSE(books_.unwanted_sessions.front().loaded);
  EXPECT_NE(session(), *filler);
  EXPECT_EQ(residency_->flush_unwanted_session_of(*filler, wire::Cause::kFiller), rc::kSuccess);
  EXPECT_TRUE(books_.unwanted_sessions.empty());
}

TEST_F(ResidencyTest, WhatIsUnusedForLongIsSavedAndTheObjectStays) {
  const auto handle = key();
  const auto number = session();
  EXPECT_FALSE(residency_->save_unused({.object_for = 1'000'000, .session_for = 1'000'000}));
  EXPECT_EQ(residency_->save_unused({.object_for = 0, .session_for = UINT64_MAX}), rc::kSuccess);
  EXPECT_TRUE(is_loaded(handle));
  EXPECT_FALSE(find_object(books_, space_, handle)->context.empty());
  EXPECT_EQ(residency_->save_unused({.object_for = UINT64_MAX, .session_for = 0}), rc::kSuccess);
  EXPECT_FALSE(find_session(books_, number)->loaded());
  EXPECT_FALSE(residency_->next_unused().object || residency_->next_unused().session);
}

}  // namespace
}  // namespace tpmspace::space
