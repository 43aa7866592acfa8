// The effect of one owner on another by the pattern of requests: judged by the order of responses, never by time.
#include <map>

#include "engine_behind_meddler.h"

namespace tpmspace::engine {
namespace {

constexpr std::uint64_t kHostile = 1, kModest = 2;

class Floods : public EngineBehindMeddler {
 protected:
  // The hostile owner has every session that the bank gives out, and so many connections that wait for one more.
  void fill_queue(int waiting) {
    holder_ = open(kHostile);
    for (int i = 0; i < kToGive; ++i) (void)session(holder_);
    for (int i = 0; i < waiting; ++i) {
      waiting_.push_back(open(kHostile));
      tickets_.push_back(submit(waiting_.back(), start_session(SessionType::kHmac)));
    }
    while (!engine_->step(now_).idle) {
    }
    ASSERT_EQ(engine_->snapshot().waiting_for_session, static_cast<std::uint32_t>(waiting));
  }
  // As the daemon does it for a client that cancels: withdrawn at the gate, then dropped.
  void cancel_and_ask_again(std::size_t which) {
    ASSERT_TRUE(engine_->gate().withdraw(tickets_.at(which)));
    ASSERT_TRUE(engine_->cancel(tickets_.at(which)));
    tickets_.at(which) = submit(waiting_.at(which), start_session(SessionType::kHmac));
  }
  // So many steps until it is answered; `meanwhile` after each.
  int steps_to_answer(Ticket ticket, const std::function<void()>& meanwhile = {}) {
    for (int steps = 1; steps < 20'000; ++steps) {
      const auto step = engine_->step(now_);
      if (step.reply && step.reply->ticket == ticket) return steps;
      if (meanwhile) meanwhile();
    }
    ADD_FAILURE() << "no answer";
    return 0;
  }

  ConnectionId holder_ = 0;
  std::vector<ConnectionId> waiting_;
  std::vector<Ticket> tickets_;
};

TEST_F(Floods, JoiningAndLeavingTheSessionQueueForEverHoldsNoClientUp) {
  fill_queue(500);
  const auto modest = open(kModest);
  std::size_t which = 0;
  for (int i = 0; i < 50; ++i) {
    const int steps = steps_to_answer(submit(modest, get_random()), [&] {
      for (int k = 0; k < 3; ++k) cancel_and_ask_again(which++ % waiting_.size());
    });
    EXPECT_LE(steps, 3);
  }
}

// A millisecond of the TPM's time is worth fifty of them.
TEST_F(Floods, JoiningTheSessionLineIsPaidFor) {
  fill_queue(0);
  for (int i = 0; i < 2000; ++i) (void)submit(open(kHostile), start_session(SessionType::kHmac));
  const auto modest = open(kModest);
  for (int i = 0; i < 20; ++i) EXPECT_LE(steps_to_answer(submit(modest, get_random())), 55);
}

// 20 us for each: as much as twenty commands of the other owner.
TEST_F(Floods, ClosingConnectionsThatWaitIsPaidFor) {
  fill_queue(1000);
  for (const auto connection : waiting_) engine_->close(connection);
  for (int i = 0; i < 20; ++i) (void)submit(open(kHostile), get_random());
  const auto modest = open(kModest);
  int steps = 0;
  for (int i = 0; i < 15; ++i) steps += steps_to_answer(submit(modest, get_random()));
  // The unwanted session is flushed in between.
  EXPECT_LE(steps, 15 + 3);
}

TEST_F(Floods, ThousandsOfDeadlinesThatPassTogetherHoldNoClientUp) {
  fill_queue(2000);
  const auto modest = open(kModest), waits = open(kModest);
  const auto own = submit(waits, start_session(SessionType::kHmac));
  (void)engine_->step(now_);
  now_ += 31 * kSecond;
  // The others are told at once.
  std::map<Ticket, int> answered_after;
  const auto ticket = submit(modest, get_random());
  for (int steps = 1; steps <= 10; ++steps) {
    const auto step = engine_->step(now_);
    if (step.reply) answered_after[step.reply->ticket] = steps;
  }
  EXPECT_EQ(answered_after.count(ticket), 1U);
  EXPECT_EQ(answered_after.count(own), 1U);
  for (int i = 0; i < 500; ++i) EXPECT_LE(steps_to_answer(submit(modest, get_random())), 2);
}

TEST_F(Floods, ThousandsOfResponsesToCancelledCommandsHoldNoClientUp) {
  std::vector<Ticket> cancelled;
  cancelled.reserve(2000);
  for (int i = 0; i < 2000; ++i) cancelled.push_back(submit(open(kHostile), get_random()));
  for (const Ticket ticket : cancelled) EXPECT_TRUE(engine_->cancel(ticket));
  const auto modest = open(kModest);
  for (int i = 0; i < 20; ++i) EXPECT_LE(steps_to_answer(submit(modest, get_random())), 60);
}

}  // namespace
}  // namespace tpmspace::engine
