// Accepting clients, and waiting while accepting is impossible.
#include "loop/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <vector>

#include "base/limits.h"

namespace tpmspace::loop {
namespace {

class AcceptorTest : public testing::Test {
 protected:
  AcceptorTest() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    said_.reset(ends[0]);
    log_end_.reset(ends[1]);
    sockaddr_un any{};
    any.sun_family = AF_UNIX;  // without a name the kernel takes a free one that is in no file system
    EXPECT_EQ(::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(sa_family_t)), 0);
    EXPECT_EQ(::listen(listening_.get(), 8), 0);
  }
  [[nodiscard]] base::Fd connected() const {
    sockaddr_un address{};
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    base::Fd out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    return out;
  }
  // Connections that the kernel queues; nobody accepts them meanwhile.
  [[nodiscard]] int queued() const {
    sockaddr_un address{};
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    std::vector<base::Fd> out;
    do {
      out.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    } while (static_cast<int>(out.size()) <= kMany &&
             ::connect(out.back().get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    return static_cast<int>(out.size()) - 1;
  }
  std::string said() {
    std::array<char, 4096> text{};
    const auto n = ::read(said_.get(), text.data(), text.size());
    return {text.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
  }

  static constexpr int kMany = 2 * limits::kShortBacklog;

  base::Fd listening_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  base::Fd said_, log_end_;
  EventLoop loop_;
};

TEST_F(AcceptorTest, AWatchThatIsRefusedIsSaidAndTriedAgain) {
  // As at the kernel's limit of watches: a descriptor that is watched cannot be watched again.
  Watch obstacle = loop_.watch(listening_.get(), EPOLLIN, [](std::uint32_t) {});
  int clients = 0;
  {
    log::Log log(log::LogLevel::kInfo, log_end_.get());
    Acceptor acceptor(
        loop_, log, listening_.get(),
        [&](const base::Fd&) {
          ++clients;
          loop_.stop(0);
        },
        [] { return true; });
    acceptor.on_room();  // refused again, and said once
    const base::Fd client = connected();
    obstacle.stop();
    EXPECT_EQ(loop_.run(), 0);  // by itself, after a while
  }
  EXPECT_EQ(clients, 1);
  const std::string line = said();
  EXPECT_NE(line.find("tpmspaced: warning: tpmspaced cannot accept new clients for now: File exists; new clients wait "
                      "until others disconnect\n"),
            std::string::npos)
      << line;
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
}

// Every client waits for the whole queue of the kernel, so one user's loop of connects must not keep the queue long.
TEST_F(AcceptorTest, TheKernelsQueueIsShortForAWhileWhenClientsConnectFasterThanTheyAreAccepted) {
  ASSERT_EQ(::listen(listening_.get(), limits::kBacklog), 0);
  log::Log log(log::LogLevel::kInfo, log_end_.get());
  std::deque<base::Fd> flood;  // never empty: each accepted client is followed by another one
  int clients = 0, in_flood = 0, afterwards = 0;
  Acceptor acceptor(
      loop_, log, listening_.get(),
      [&](const base::Fd&) {
        flood.pop_front();
        if (++clients < limits::kBacklog + static_cast<int>(limits::kAcceptsPerTurn))
          return flood.push_back(connected());
        if (in_flood == 0) in_flood = queued();
        // queued() connections that left are accepted as well.
        flood.emplace_back();
      },
      [] { return true; });
  Timer look = loop_.timer([&] {
    afterwards = in_flood == 0 ? 0 : queued();
    if (afterwards > kMany - 1) return loop_.stop(0);
    look.arm(std::chrono::milliseconds(100));
  });
  look.arm(std::chrono::milliseconds(1));
  flood.push_back(connected());
  EXPECT_EQ(loop_.run(), 0);
  EXPECT_GT(in_flood, 0);
  EXPECT_LE(in_flood, limits::kShortBacklog + 1);  // the kernel queues one more than it is told
  EXPECT_EQ(afterwards, kMany);
  EXPECT_NE(said().find("for 5 s the kernel queues only 128 connections"), std::string::npos);
}

TEST_F(AcceptorTest, ABurstOfClientsLeavesTheKernelsQueueAsItIs) {
  ASSERT_EQ(::listen(listening_.get(), limits::kBacklog), 0);
  log::Log log(log::LogLevel::kInfo, log_end_.get());
  std::vector<base::Fd> burst;
  for (int i = 0; i < 200; ++i) burst.push_back(connected());
  std::size_t clients = 0;
  Acceptor acceptor(
      loop_, log, listening_.get(),
      [&](const base::Fd&) {
        if (++clients == burst.size()) loop_.stop(0);
      },
      [] { return true; });
  EXPECT_EQ(loop_.run(), 0);
  EXPECT_EQ(queued(), kMany);
  EXPECT_EQ(said(), "");
}

}  // namespace
}  // namespace tpmspace::loop
