// Accepted connections: the order of identification, and connections that are not identified.
#include "loop/arrivals.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/limits.h"

namespace tpmspace::loop {
namespace {

constexpr uid_t kFlooder = 1001, kVictim = 1002, kLent = 1003;

class ArrivalsTest : public testing::Test {
 protected:
  // A client of that user at that listener; it stays connected.
  base::Fd come(Arrivals& arrivals, const std::string& listener, uid_t uid = ::geteuid()) {
    std::array<int, 2> ends{};
    const uid_t own = ::geteuid();
    EXPECT_EQ(::seteuid(uid), 0);
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    EXPECT_EQ(::seteuid(own), 0);
    arrivals.add(base::Fd(ends[0]), {.listener = listener}, {});
    return base::Fd(ends[1]);
  }
  void stay(base::Fd client) { clients_.push_back(std::move(client)); }
  // Until so many are identified, and the loop has gone round once more.
  std::vector<std::string> identified(std::size_t count) {
    expected_ = count;
    if (identified_.size() < count) (void)loop_.run();
    return identified_;
  }
  Arrivals make(std::size_t most = 10'000) {
    return Arrivals(loop_, most,
                    {.user_of = [](uid_t uid) { return uid == kLent ? kFlooder : uid; },
                     .is_hopeless = [this](const ucred&, const guard::Entrance& entrance,
                                           std::size_t) { return entrance.listener == hopeless_; },
                     .identify =
                         [this](const Arrival& one) {
                           identified_.push_back(one.entrance.listener + "/" + std::to_string(one.peer.uid));
                           if (identified_.size() == expected_) loop_.stop(0);
                         },
                     .room_again = [this] { ++room_again_; }});
  }

  EventLoop loop_;
  std::vector<base::Fd> clients_;
  std::vector<std::string> identified_;
  std::size_t expected_ = 0;
  int room_again_ = 0;
  std::string hopeless_ = "none";
};

TEST_F(ArrivalsTest, OneThatWouldGetNoAnswerIsClosedAtOnce) {
  auto arrivals = make(2);
  hopeless_ = "full";
  for (int i = 0; i < 10; ++i) {
    const auto client = come(arrivals, "full");
    char byte = 0;
    EXPECT_EQ(::read(client.get(), &byte, 1), 0);
  }
  EXPECT_TRUE(arrivals.has_room());
  stay(come(arrivals, "main"));
  EXPECT_EQ(identified(1).size(), 1U);
}

TEST_F(ArrivalsTest, AFloodOfOneUserWaitsBehindItself) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has other users";
  auto arrivals = make();
  for (int i = 0; i < 500; ++i) stay(come(arrivals, "main", kFlooder));
  for (int i = 0; i < 3; ++i) stay(come(arrivals, "main", kVictim));
  const auto order = identified(6);
  EXPECT_EQ(std::count(order.begin(), order.end(), "main/1002"), 3);
  EXPECT_EQ(arrivals.size(), 503U - limits::kIdentificationsPerRound);
}

TEST_F(ArrivalsTest, SubordinateUidsTakeTurnsWithTheirUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has other users";
  auto arrivals = make();
  for (int i = 0; i < 5; ++i) stay(come(arrivals, "main", kFlooder));
  stay(come(arrivals, "main", kLent));
  stay(come(arrivals, "main", kVictim));
  EXPECT_EQ(identified(2)[1], "main/1002");
}

TEST_F(ArrivalsTest, AFloodOfOneListenerDoesNotDelayAnother) {
  auto arrivals = make();
  for (int i = 0; i < 500; ++i) stay(come(arrivals, "main"));
  stay(come(arrivals, "admin"));
  const auto order = identified(2);
  EXPECT_EQ(order[1], "admin/" + std::to_string(::geteuid()));
}

TEST_F(ArrivalsTest, AClosedConnectionIsNotIdentified) {
  auto arrivals = make();
  for (int i = 0; i < 100; ++i) (void)come(arrivals, "left while it waited");
  stay(come(arrivals, "stays"));
  EXPECT_EQ(arrivals.size(), 101U);
  EXPECT_EQ(identified(1).size(), 1U);
  EXPECT_EQ(identified_[0].substr(0, 5), "stays");
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  ASSERT_EQ(::write(ends[1], "0123456789", 10), 10);
  ::close(ends[1]);
  const auto before = arrivals.size();
  arrivals.add(base::Fd(ends[0]), {.listener = "left before"}, {});
  EXPECT_EQ(arrivals.size(), before) << "though it had sent something";
}

// It wants an answer: only its own direction is closed.
TEST_F(ArrivalsTest, AConnectionThatStoppedSendingIsIdentified) {
  auto arrivals = make();
  base::Fd client = come(arrivals, "asks");
  ::shutdown(client.get(), SHUT_WR);
  stay(std::move(client));
  EXPECT_EQ(identified(1).size(), 1U);
}

TEST_F(ArrivalsTest, WithoutRoomNoConnectionIsAccepted) {
  auto arrivals = make(limits::kIdentificationsPerRound + 1);
  while (arrivals.has_room()) stay(come(arrivals, "main"));
  EXPECT_EQ(arrivals.size(), limits::kIdentificationsPerRound + 1);
  (void)identified(limits::kIdentificationsPerRound + 1);
  EXPECT_EQ(room_again_, 1);
  EXPECT_TRUE(arrivals.has_room());
}

}  // namespace
}  // namespace tpmspace::loop
