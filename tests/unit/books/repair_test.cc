// Books that a bug has broken, and what is left of them afterwards.
#include <gtest/gtest.h>

#include "../../support/tpm_commands.h"
#include "books/books.h"

namespace tpmspace::space {
namespace {

class Repair : public testing::Test {
 protected:
  void SetUp() override {
    one_ = open_space(books_, OwnerId{1}, {});
    other_ = open_space(books_, OwnerId{2}, {});
    (void)add_object(books_, one_, {0x80000000}, {false, {1, 2, 3}, 0});
    (void)add_object(books_, other_, {0x80000000}, {false, {1, 2}, 0});
    (void)add_object(books_, other_, {0x80000001}, {false, {}, 0});
    books_.slots.push_back({wire::TpmHandle{0x80000000}, other_, wire::ClientHandle{0x80000001}});
    books_.sessions[3] = session(3, OwnerId{1}, one_);
    (void)add_parked(books_, parked(4, OwnerId{2}, other_));
    ASSERT_EQ(check(books_, chip_), std::nullopt);
  }
  static Session session(std::uint32_t number, OwnerId owner, SpaceId space) {
    Session out;
    out.handle = 0x03000000 | number;
    out.client = {out.handle};
    out.kind = SessionKind::kPolicy;
    out.owner = owner;
    out.space = space;
    return out;
  }
  static Session parked(std::uint32_t number, OwnerId owner, SpaceId space) {
    Session out = session(number, owner, space);
    const auto start = support::start_session(support::SessionType::kPolicy);
    out.log = log_of_start(*wire::Command::parse(start, wire::CommandTable::builtin(), 4096));
    return out;
  }

  Chip chip_;
  Books books_;
  SpaceId one_, other_;
};

TEST_F(Repair, BooksThatAreRightStayAsTheyAre) {
  const auto before = encode(books_);
  make_consistent(books_);
  EXPECT_EQ(encode(books_), before);
  EXPECT_EQ(check(books_, chip_), std::nullopt);
}

TEST_F(Repair, WhatRefersToNothingIsUnwanted) {
  const std::pair<const char*, void (*)(Books&)> breaks[] = {
      {"a slot of no object",
       [](Books& b) {
         b.slots.push_back({{0x80000001}, SpaceId{1}, {0x80000009}});
       }},
      {"one object in two slots",
       [](Books& b) {
         b.slots.push_back({{0x80000001}, SpaceId{2}, {0x80000001}});
       }},
      {"two objects in one slot",
       [](Books& b) {
         b.slots.push_back({{0x80000000}, SpaceId{1}, {0x80000000}});
       }},
      {"an object that is nowhere", [](Books& b) { b.slots.clear(); }},
      {"a session of no space", [](Books& b) { b.sessions.at(3).space = SpaceId{9}; }},
      {"a session in another owner's space", [](Books& b) { b.sessions.at(3).space = SpaceId{2}; }},
      {"a parked session of no space", [](Books& b) { b.parked.begin()->second.space = SpaceId{9}; }},
      {"wrong sums", [](Books& b) { b.held = {}, b.parked_in_all = {}, b.parked_by_owner.clear(); }},
      {"lost indices", [](Books& b) { b.objects_by_use.clear(), b.spaces_by_owner.clear(); }},
  };
  for (const auto& [what, break_them] : breaks) {
    Books books = books_;
    break_them(books);
    ASSERT_NE(check(books, chip_), std::nullopt) << what;
    make_consistent(books);
    EXPECT_EQ(check(books, chip_), std::nullopt) << what << ": " << check(books, chip_).value_or("");
    EXPECT_EQ(books.spaces.size(), 2U) << what;
  }
}

TEST_F(Repair, AnEmptiedSpaceHasNothingAndTheOtherHasAll) {
  empty_space(books_, one_);
  EXPECT_EQ(check(books_, chip_), std::nullopt);
  EXPECT_TRUE(books_.spaces.at(one_).objects.empty());
  EXPECT_TRUE(books_.sessions.empty());
  EXPECT_EQ(books_.unwanted_sessions.size(), 1U);
  EXPECT_EQ(books_.spaces.at(other_).objects.size(), 2U);
  EXPECT_EQ(books_.parked.size(), 1U);
}

TEST_F(Repair, ASessionsNumberIsThatOfASessionsHandleOnly) {
  books_.sessions[9] = session(9, OwnerId{1}, one_);
  EXPECT_NE(usable_session(books_, one_, 0x03000009), nullptr);
  EXPECT_NE(usable_session(books_, one_, 0x02000009), nullptr) << "the type byte may be wrong";
  EXPECT_EQ(usable_session(books_, one_, wire::kPasswordSession), nullptr);
  EXPECT_EQ(usable_session(books_, one_, 0x80000009), nullptr);
  EXPECT_EQ(parked_session(books_, other_, 0x40000004), nullptr);
}

}  // namespace
}  // namespace tpmspace::space
