#include "engine/agenda.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace tpmspace::engine {
namespace {

using Work = Agenda::Work;

class AgendaTest : public testing::Test {
 protected:
  std::optional<Work> pass(bool commands_wait) {
    return agenda_.pass(commands_wait, [this](Work kind) {
      asked_.push_back(kind);
      return there_is_.count(kind) != 0 ? std::optional(kind) : std::nullopt;
    });
  }

  Agenda agenda_;
  std::set<Work> there_is_;
  std::vector<Work> asked_;
};

TEST_F(AgendaTest, WhileCommandsWaitOtherWorkGetsEverySecondStep) {
  there_is_ = {Work::kOrders, Work::kBacklog};
  std::vector<bool> passed;
  for (int i = 0; i < 6; ++i) passed.push_back(pass(true).has_value());
  EXPECT_EQ(passed, (std::vector<bool>{true, false, true, false, true, false}));
}

TEST_F(AgendaTest, WithoutCommandsOtherWorkGetsEveryStep) {
  there_is_ = {Work::kOrders};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(pass(false), Work::kOrders);
  EXPECT_FALSE(pass(true)) << "a command that came meanwhile is next";
  EXPECT_TRUE(pass(true));
}

TEST_F(AgendaTest, TheKindsTakeTurns) {
  there_is_ = {Work::kOrders, Work::kNumberQueue, Work::kBacklog};
  std::vector<Work> done;
  for (int i = 0; i < 6; ++i) done.push_back(*pass(false));
  EXPECT_EQ(done, (std::vector<Work>{Work::kOrders, Work::kNumberQueue, Work::kBacklog, Work::kOrders,
                                     Work::kNumberQueue, Work::kBacklog}));
}

TEST_F(AgendaTest, AStepAsksEachKindOnce) {
  EXPECT_FALSE(pass(true));
  EXPECT_EQ(asked_.size(), Agenda::kKinds);
  EXPECT_EQ(std::set<Work>(asked_.begin(), asked_.end()).size(), Agenda::kKinds);
  EXPECT_FALSE(pass(true)) << "nothing was passed, so it may ask again";
  EXPECT_EQ(asked_.size(), 2 * Agenda::kKinds);
}

}  // namespace
}  // namespace tpmspace::engine
