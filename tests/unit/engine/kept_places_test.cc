// An owner that waited for a session and has too few does not wait again for the next session.
#include <algorithm>

#include "engine_behind_meddler.h"

namespace tpmspace::engine {
namespace {

constexpr std::uint64_t kHoarder = 1, kNewcomer = 2;

class KeptPlaces : public EngineBehindMeddler {
 protected:
  // Every session is the hoarder's, two of each connection, and it wants more. None is ever idle for too long.
  void hoard() {
    for (int i = 0; i < kToGive - 1; ++i) {
      if (i % 2 == 0) hoarders_.push_back(open(kHoarder, never_idle()));
      (void)session(hoarders_.back());
    }
    for (int i = 0; i < 3; ++i) (void)submit(open(kHoarder, never_idle()), start_session(SessionType::kHmac));
  }
  static space::SpaceLimits never_idle() {
    space::SpaceLimits out;
    out.terms.lease = space::SessionTerms::kEndless;
    out.terms.deadline = space::SessionTerms::kEndless;
    return out;
  }
  Ticket ask(std::uint64_t owner) { return submit(open(owner), start_session(SessionType::kHmac)); }

  // Until the command has its answer; how long that took.
  Time until_answered(ConnectionId connection, const Bytes& bytes) {
    const Ticket ticket = submit(connection, bytes);
    const Time began = now_;
    for (int i = 0; i < 100'000; ++i) {
      const auto step = engine_->step(now_);
      EXPECT_EQ(engine_->check(), std::nullopt);
      if (step.reply && step.reply->ticket == ticket) {
        EXPECT_EQ(wire::read_header(step.reply->response)->code, 0U);
        const wire::Reader after(ByteView(step.reply->response).subspan(wire::kHeaderSize));
        handle_ = wire::Reader(after).u32().value_or(0);
        return now_ - began;
      }
      if (step.idle) now_ += 100 * kMillisecond;
    }
    ADD_FAILURE() << "no answer";
    return 0;
  }
  [[nodiscard]] std::size_t waiting_of(std::uint64_t owner) {
    std::size_t out = 0;
    for (const auto& one : engine_->sessions().waiting) out += one.holder.owner.value == owner ? 1U : 0U;
    return out;
  }

  std::vector<ConnectionId> hoarders_;
  std::uint32_t handle_ = 0;
};

TEST_F(KeptPlaces, AClientThatStartsManySessionsWaitsForTheTenureOnce) {
  hoard();
  const auto modest = open(kNewcomer);
  EXPECT_GE(until_answered(modest, start_session(SessionType::kHmac)), 9 * kSecond);
  for (int i = 0; i < 10; ++i) {
    (void)until_answered(modest, flush_context(handle_));
    rest_for(3 * kSecond);
    EXPECT_LT(until_answered(modest, start_session(SessionType::kHmac)), kSecond) << i;
  }
}

TEST_F(KeptPlaces, AnOwnerWhoseProgramsConnectForEachSessionWaitsForTheTenureOnce) {
  hoard();
  auto modest = open(kNewcomer);
  EXPECT_GE(until_answered(modest, start_session(SessionType::kHmac)), 9 * kSecond);
  for (int i = 0; i < 10; ++i) {
    engine_->close(modest);
    rest_for(3 * kSecond);
    modest = open(kNewcomer);
    EXPECT_LT(until_answered(modest, start_session(SessionType::kHmac)), kSecond) << i;
  }
}

TEST_F(KeptPlaces, AfterATenureThePlaceIsFree) {
  hoard();
  const auto modest = open(kNewcomer);
  (void)until_answered(modest, start_session(SessionType::kHmac));
  (void)until_answered(modest, flush_context(handle_));
  rest_for(9 * kSecond);
  const auto waited = waiting_of(kHoarder);
  rest_for(2 * kSecond);
  EXPECT_EQ(waiting_of(kHoarder), waited - 1);
}

// Kept places are of no more use than sessions: an owner above the fair share has neither.
TEST_F(KeptPlaces, APlaceKeptForAnOwnerWithTooMuchGoesToTheNextOwner) {
  hoard();
  std::vector<ConnectionId> modest;
  for (int i = 0; i < 6; ++i) {
    modest.push_back(open(kNewcomer));
    (void)until_answered(modest.back(), start_session(SessionType::kHmac));
  }
  for (const auto connection : modest) engine_->close(connection);
  rest_for(kSecond);
  // With eighteen owners more, six are above the share of three.
  std::vector<Ticket> tickets;
  for (std::uint64_t owner = 10; owner < 28; ++owner) tickets.push_back(ask(owner));
  std::size_t served = 0;
  const Time end = now_ + kSecond;
  for (int i = 0; i < 10'000 && now_ < end; ++i) {
    const auto step = engine_->step(now_);
    if (step.reply && std::count(tickets.begin(), tickets.end(), step.reply->ticket) != 0) ++served;
    if (step.idle) now_ += 100 * kMillisecond;
  }
  EXPECT_GE(served, 3U);
}

}  // namespace
}  // namespace tpmspace::engine
