// `tpmspace connect`: both directions, and every end that can come first.
#include "tool/relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "../client/temp_dir.h"
#include "client/connection.h"
#include "wire/response.h"

namespace tpmspace::tool {
namespace {

using base::Fd;
using testing_support::Peer;
using wire::Bytes;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    reading = Fd(ends[0]);
    writing = Fd(ends[1]);
  }
  Fd reading, writing;
};

Bytes read_all(int fd) {
  Bytes out;
  std::array<std::uint8_t, 4096> buffer{};
  for (ssize_t n = 0; (n = read(fd, buffer.data(), buffer.size())) > 0;)
    out.insert(out.end(), buffer.begin(), buffer.begin() + n);
  return out;
}

void write_all(int fd, wire::ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    ASSERT_GT(n, 0);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

class RelayTest : public testing::Test {
 protected:
  RelayTest() : peer_(Fd()) { SetUpPeer(); }
  void SetUpPeer() {
    input_ = Pipe();
    output_ = Pipe();
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    peer_ = Peer(Fd(ends[0]));
    socket_ = Fd(ends[1]);
  }
  int go() { return relay(input_.reading.get(), output_.writing.get(), std::move(socket_), "a test"); }
  Bytes output() {
    output_.writing.reset();
    return read_all(output_.reading.get());
  }

  Pipe input_, output_;
  Peer peer_;
  Fd socket_;
};

TEST_F(RelayTest, TheEndOfInputIsPassedOnAndTheAnswerStillDelivered) {
  write_all(input_.writing.get(), Bytes{1, 2, 3});
  input_.writing.reset();
  std::thread manager([&] {
    EXPECT_EQ(peer_.read(3), (Bytes{1, 2, 3}));
    EXPECT_TRUE(peer_.closed());  // half of it
    peer_.send(Bytes{4, 5});
    peer_.hang_up();
  });
  EXPECT_EQ(go(), 0);
  manager.join();
  EXPECT_EQ(output(), (Bytes{4, 5}));
}

TEST_F(RelayTest, AManagerThatClosesFirstIsAnErrorButItsLastWordIsDelivered) {
  peer_.send(Bytes{9});
  peer_.hang_up();
  testing::internal::CaptureStderr();
  EXPECT_EQ(go(), 1);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("closed the connection"), std::string::npos);
  EXPECT_EQ(output(), Bytes{9});
}

TEST_F(RelayTest, AManagerWithoutAPlaceIsNamedAndItsAnswerDelivered) {
  const auto hello = static_cast<std::uint32_t>(proto::MessageType::kHello);
  const Bytes answers[] = {wire::error_response(client::kNoPlace),
                           proto::encode(proto::Reply(proto::Refusal{hello, client::kNoPlace}))};
  for (const Bytes& answer : answers) {
    for (const bool input_ended : {false, true}) {
      SetUpPeer();
      if (input_ended) input_.writing.reset();
      peer_.send(answer);
      peer_.hang_up();
      testing::internal::CaptureStderr();
      EXPECT_EQ(go(), 1);
      const std::string said = testing::internal::GetCapturedStderr();
      EXPECT_NE(said.find("tpmspaced at a test refuses further connections"), std::string::npos) << said;
      EXPECT_EQ(output(), answer);
    }
  }
}

TEST_F(RelayTest, AManagerThatClosesWhileMuchIsSentStillHasItsLastWord) {
  write_all(input_.writing.get(), Bytes(60'000, 0xFF));
  peer_.send(Bytes{7});
  peer_.hang_up();
  testing::internal::CaptureStderr();
  EXPECT_EQ(go(), 1);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("the log of tpmspaced says why"), std::string::npos);
  EXPECT_EQ(output(), Bytes{7});
}

TEST_F(RelayTest, AReaderThatGoesAwayIsTheEnd) {
  output_.reading.reset();
  EXPECT_EQ(go(), 0);
}

TEST_F(RelayTest, AReaderThatGoesAwayWithAnAnswerPendingIsTheEnd) {
  peer_.send(Bytes(1000, 1));
  output_.reading.reset();
  EXPECT_EQ(go(), 0);
}

TEST_F(RelayTest, MuchInBothDirectionsAtOnce) {
  Bytes much(1'000'000);
  for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
  std::thread writer([&] {
    write_all(input_.writing.get(), much);
    input_.writing.reset();
  });
  std::thread manager([&] {
    std::thread back([&] { peer_.send(much); });
    EXPECT_EQ(peer_.read(much.size()), much);
    back.join();
    peer_.hang_up();
  });
  Bytes got;
  std::thread reader([&] { got = read_all(output_.reading.get()); });
  const int code = go();
  output_.writing.reset();
  for (auto* thread : {&writer, &manager, &reader}) thread->join();
  // The manager may hang up before we have passed the end of input on: then it was the first.
  EXPECT_TRUE(code == 0 || code == 1) << code;
  EXPECT_EQ(got, much);
}

}  // namespace
}  // namespace tpmspace::tool
