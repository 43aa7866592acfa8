// Finding connected clients, and remembering refusals.
#include "daemon/client_index.h"

#include <gtest/gtest.h>

#include "explain/last_refusals.h"
#include "peer/owner_numbers.h"

namespace tpmspace::daemon {
namespace {

using namespace std::chrono_literals;

space::Holder holder_of(std::uint32_t uid) {
  return {.owner = peer::owner_of(uid), .part = {}};
}
space::Holder member(std::uint32_t uid) {
  return peer::part_of_tenant(uid, 3);
}

TEST(ClientIndex, FindsAUsersAndAProcessesClients) {
  ClientIndex index;
  index.add(1, holder_of(5), 100);
  index.add(2, holder_of(6), 200);
  index.add(3, holder_of(5), 100);
  index.add(4, holder_of(5), std::nullopt);
  EXPECT_EQ(index.all(), (std::set<host::ClientId>{1, 2, 3, 4}));
  EXPECT_EQ(index.of_user(holder_of(5)), (std::set<host::ClientId>{1, 3, 4}));
  EXPECT_EQ(index.of_process(100), (std::set<host::ClientId>{1, 3}));
  EXPECT_TRUE(index.of_user(holder_of(7)).empty());
  index.remove(3, holder_of(5), 100);
  index.remove(4, holder_of(5), std::nullopt);
  EXPECT_EQ(index.of_user(holder_of(5)), std::set<host::ClientId>{1});
  EXPECT_EQ(index.of_process(100), std::set<host::ClientId>{1});
  EXPECT_EQ(index.size(), 2U);
}

TEST(ClientIndex, OneUserInsideAndOutsideOfATenantIsTwo) {
  ClientIndex index;
  index.add(1, holder_of(5), 1);
  index.add(2, member(5), 2);
  index.add(3, member(6), 3);
  EXPECT_EQ(index.of_user(holder_of(5)), std::set<host::ClientId>{1});
  EXPECT_EQ(index.of_user(member(5)), std::set<host::ClientId>{2});
}

TEST(ClientIndex, AConnectionThatGaveRightsAwayIsItsUsersStill) {
  ClientIndex index;
  index.add(1, holder_of(5), 1);
  space::Holder narrowed = holder_of(5);
  narrowed.part.connection = 1;
  EXPECT_EQ(index.of_user(narrowed), std::set<host::ClientId>{1});
  index.remove(1, narrowed, 1);
  EXPECT_EQ(index.size(), 0U);
  EXPECT_TRUE(index.of_user(holder_of(5)).empty());
}

TEST(ClientIndex, PagesBeginBehindTheLastOneSeen) {
  const std::set<host::ClientId> clients = {2, 3, 5, 9};
  EXPECT_EQ(page_of(clients, 0, 2), (std::vector<host::ClientId>{2, 3}));
  EXPECT_EQ(page_of(clients, 3, 2), (std::vector<host::ClientId>{5, 9}));
  EXPECT_EQ(page_of(clients, 4, 9), (std::vector<host::ClientId>{5, 9}));
  EXPECT_TRUE(page_of(clients, 9, 2).empty());
}

class LastRefusalsTest : public testing::Test {
 protected:
  void note(const space::Holder& who, wire::Rc code, std::chrono::seconds at = 0s) {
    refusals_.note(who,
                   {.at = explain::LastRefusals::Clock::time_point(at), .command = "", .code = code, .reason = ""});
  }
  // 0: none is known.
  [[nodiscard]] wire::Rc of(const space::Holder& who, std::chrono::seconds at = 1s) const {
    const explain::Refusal* found = refusals_.of(who, explain::LastRefusals::Clock::time_point(at));
    return found == nullptr ? 0 : found->code;
  }
  explain::LastRefusals refusals_;
};

TEST_F(LastRefusalsTest, AreEachUsersOwn) {
  note(holder_of(5), 1);
  note(holder_of(6), 2);
  note(member(5), 3);
  note(member(6), 4);
  note(holder_of(5), 5);
  EXPECT_EQ(of(holder_of(5)), 5U);
  EXPECT_EQ(of(holder_of(6)), 2U);
  EXPECT_EQ(of(member(5)), 3U);
  EXPECT_EQ(of(member(6)), 4U);
  EXPECT_EQ(of(holder_of(7)), 0U);
}

TEST_F(LastRefusalsTest, AreForgottenAfterAWhile) {
  note(holder_of(5), 1, 10s);
  EXPECT_EQ(of(holder_of(5), 10s + explain::LastRefusals::kKept - 1s), 1U);
  EXPECT_EQ(of(holder_of(5), 10s + explain::LastRefusals::kKept), 0U);
}

TEST_F(LastRefusalsTest, OfManyUsersOfOneOwnerTheOldestGoesAndNoOtherOwners) {
  note(holder_of(5), 77);
  for (std::uint32_t uid = 0; uid <= explain::LastRefusals::kUsers; ++uid) note(member(uid), 1 + uid);
  EXPECT_EQ(of(member(0)), 0U);
  EXPECT_EQ(of(member(1)), 2U);
  EXPECT_EQ(of(holder_of(5)), 77U);
}

TEST_F(LastRefusalsTest, OfManyOwnersTheOneThatWasRefusedLongestAgoGoes) {
  for (std::uint32_t uid = 0; uid < explain::LastRefusals::kOwners; ++uid) note(holder_of(uid), 1 + uid);
  note(holder_of(0), 99);  // again
  note(holder_of(5000), 98);
  EXPECT_EQ(of(holder_of(0)), 99U);
  EXPECT_EQ(of(holder_of(1)), 0U);
  EXPECT_EQ(of(holder_of(2)), 3U);
  EXPECT_EQ(of(holder_of(5000)), 98U);
}

TEST(ReasonOf, SaysSomethingOfEveryCode) {
  EXPECT_NE(explain::reason_of(0x000B018B).find("the connection has no object or session of this handle"),
            std::string_view::npos);
  EXPECT_NE(explain::reason_of(0x000B0910).find("the connection has no object or session of this handle"),
            std::string_view::npos);
  EXPECT_NE(explain::reason_of(0x000B0902).find("a limit of objects"), std::string_view::npos);
  EXPECT_NE(explain::reason_of(0x000B0905).find("no session was free"), std::string_view::npos);
  EXPECT_NE(explain::reason_of(0x000B0777).find("docs/transparency.md"), std::string_view::npos);
}

}  // namespace
}  // namespace tpmspace::daemon
