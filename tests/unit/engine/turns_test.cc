// Whose turn it is, with clients that would have every turn.
#include <map>

#include "engine_behind_meddler.h"

namespace tpmspace::engine {
namespace {

constexpr std::uint64_t kGreedy = 1, kPatient = 2;

class Turns : public EngineBehindMeddler {
 protected:
  // Steps until `whom` has so many responses; a client with a response asks again at once. Returns the number of
  // responses to others.
  int answers_to_others(ConnectionId whom, int wanted, const Bytes& greedy_command, const Bytes& modest_command) {
    int others = 0, own = 0;
    for (const auto connection : greedy_) at_[submit(connection, greedy_command)] = connection;
    at_[submit(whom, modest_command)] = whom;
    for (int i = 0; i < 100'000 && own < wanted; ++i) {
      const auto step = engine_->step(now_);
      if (!step.reply) continue;
      const auto connection = at_.at(step.reply->ticket);
      at_.erase(step.reply->ticket);
      (connection == whom ? own : others) += 1;
      at_[submit(connection, connection == whom ? modest_command : greedy_command)] = connection;
    }
    EXPECT_EQ(own, wanted) << "starved by " << others << " answers to others";
    return others;
  }

  void open_greedy(int connections) {
    for (int i = 0; i < connections; ++i) greedy_.push_back(open(kGreedy));
  }

  std::vector<ConnectionId> greedy_;
  std::map<Ticket, ConnectionId> at_;
};

TEST_F(Turns, CommandsThatTakeNoTpmTimeTakeTurnsAllTheSame) {
  open_greedy(3);
  const auto modest = open(kPatient);
  const auto before = meddler_->sent[cc::kGetCapability];
  // 1 ms of TPM time is worth many commands that take none, but not all of them.
  const int others = answers_to_others(modest, 20, get_capability(1, 0x80000000, 10), get_random());
  EXPECT_EQ(meddler_->sent[cc::kGetCapability], before) << "not what this test is about: the TPM was asked";
  EXPECT_LE(others, 20 * 50 + 50);
}

TEST_F(Turns, AClientWithoutTpmTimeIsNotHeldUpByAClientWithMuch) {
  open_greedy(3);
  const auto modest = open(kPatient);
  const int others = answers_to_others(modest, 1000, get_random(), get_capability(1, 0x80000000, 10));
  EXPECT_LE(others, 1000 / 50 + 3);
}

TEST_F(Turns, RefusalsTakeTurnsAllTheSame) {
  open_greedy(3);
  const auto modest = open(kPatient);
  const int others = answers_to_others(modest, 20, sign(0x80000005), get_random());
  EXPECT_EQ(meddler_->sent[cc::kSign], 0U);
  EXPECT_LE(others, 20 * 50 + 50);
}

// The answer to a cancelled command is a turn of its owner.
TEST_F(Turns, SubmittingAndCancellingForEverDoesNotStarveOthers) {
  open_greedy(2);
  const auto modest = open(kPatient);
  const auto submit_and_cancel = [&](ConnectionId connection) {
    const auto ticket = submit(connection, get_random());
    at_[ticket] = connection;
    EXPECT_TRUE(engine_->cancel(ticket));
  };
  for (const auto connection : greedy_) submit_and_cancel(connection);
  at_[submit(modest, get_random())] = modest;
  int own = 0, others = 0;
  for (int i = 0; i < 10'000 && own < 20; ++i) {
    const auto step = engine_->step(now_);
    ASSERT_TRUE(step.reply);
    const auto connection = at_.at(step.reply->ticket);
    at_.erase(step.reply->ticket);
    if (connection == modest) {
      ++own;
      at_[submit(modest, get_random())] = modest;
    } else {
      ++others;
      submit_and_cancel(connection);
    }
  }
  EXPECT_EQ(own, 20) << "starved by " << others << " cancelled commands";
}

TEST_F(Turns, CancellingLeavesTheOrderOfAllOthersAlone) {
  open_greedy(4);
  std::vector<ConnectionId> modest = {open(kPatient), open(kPatient), open(kPatient)};
  std::vector<Ticket> of_greedy, of_modest;
  for (const auto connection : greedy_) of_greedy.push_back(submit(connection, get_random()));
  for (const auto connection : modest) of_modest.push_back(submit(connection, get_random()));
  // The second of each, and the greedy owner again and again.
  EXPECT_TRUE(engine_->cancel(of_greedy[1]));
  EXPECT_TRUE(engine_->cancel(of_modest[1]));
  EXPECT_FALSE(engine_->cancel(of_modest[1])) << "once is enough";
  std::vector<Ticket> order;
  std::map<Ticket, Rc> codes;
  for (int i = 0; i < 7;) {
    const auto step = engine_->step(now_);
    if (!step.reply) continue;
    ++i;
    const auto code = wire::read_header(step.reply->response)->code;
    codes[step.reply->ticket] = code;
    if (code == 0) order.push_back(step.reply->ticket);
  }
  EXPECT_EQ(codes.size(), 7U) << "one answer for each";
  EXPECT_EQ(codes[of_greedy[1]], 0x000B0909U);
  EXPECT_EQ(codes[of_modest[1]], 0x000B0909U);
  // The cancelled commands were answered first: a turn of each owner.
  EXPECT_EQ(order, (std::vector<Ticket>{of_greedy[0], of_modest[0], of_greedy[2], of_modest[2], of_greedy[3]}));
  EXPECT_TRUE(engine_->step(now_).idle);
}

// Used time is not forgotten because a later command was cancelled.
TEST_F(Turns, CancellingDoesNotRemoveTheCharge) {
  open_greedy(2);
  const auto modest = open(kPatient);
  int own = 0, others = 0;
  const auto reply_to = [&](Ticket ticket) {
    for (int i = 0; i < 100; ++i) {
      const auto step = engine_->step(now_);
      if (!step.reply) continue;
      if (wire::read_header(step.reply->response)->code == 0) (step.reply->connection == modest ? own : others) += 1;
      at_.erase(step.reply->ticket);
      if (step.reply->ticket == ticket) return;
    }
    ADD_FAILURE() << "no answer";
  };
  std::optional<Ticket> waiting;
  for (int i = 0; i < 200; ++i) {
    if (!waiting || at_.count(*waiting) == 0) {
      waiting = submit(modest, get_random());
      at_[*waiting] = modest;
    }
    const auto paid = submit(greedy_[0], get_random());
    const auto cancelled = submit(greedy_[1], get_random());
    EXPECT_TRUE(engine_->cancel(cancelled));
    reply_to(paid);
  }
  EXPECT_NEAR(own, others, 2) << "each owner has half of the TPM's time";
}

}  // namespace
}  // namespace tpmspace::engine
