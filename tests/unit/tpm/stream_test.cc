// The device back end over a socket pair: the faults of a hostile or dying TPM's stream.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "support.h"
#include "tpm/device.h"
#include "tpm/open.h"

namespace tpmspace::tpm {
namespace {

using namespace test;

// The TPM's end of the wire.
class Peer {
 public:
  Peer() {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    ours_ = base::Fd(ends[0]);
    tpm = base::Fd(ends[1]);
  }
  [[nodiscard]] std::unique_ptr<DeviceTpm> device() {
    auto opened = DeviceTpm::adopt(std::move(ours_), "the TPM under test");
    if (!opened) std::abort();
    return std::move(*opened);
  }
  void write(ByteView data) const { EXPECT_EQ(::write(tpm.get(), data.data(), data.size()), std::ssize(data)); }
  [[nodiscard]] Bytes read(std::size_t size) const {
    Bytes data(size);
    EXPECT_EQ(::recv(tpm.get(), data.data(), size, MSG_WAITALL), std::ssize(data));
    return data;
  }

  base::Fd tpm;

 private:
  base::Fd ours_;
};

// The device's result when the TPM answers a command with `response`, and then closes if `closes`.
Answer answer_to(ByteView response, bool closes) {
  Peer peer;
  const auto device = peer.device();
  std::thread tpm([&] {
    (void)peer.read(get_random().size());
    if (!response.empty()) peer.write(response);
    if (closes) peer.tpm.reset();
  });
  Answer answer = device->transact(get_random(), 0);
  tpm.join();
  EXPECT_TRUE(answer || !device->transact(get_random(), 0)) << "a broken stream must stay broken";
  return answer;
}

TEST(Device, PassesCommandAndResponseUnchanged) {
  Peer peer;
  const auto device = peer.device();
  const Bytes response = wire::success_response(Bytes(300, 7));
  for (int i = 0; i < 3; ++i) {
    std::thread tpm([&] {
      EXPECT_EQ(peer.read(get_random().size()), get_random());
      peer.write(response);
    });
    const auto answer = device->transact(get_random(), 0);
    tpm.join();
    ASSERT_TRUE(answer) << answer.error().what;
    EXPECT_EQ(*answer, response);
  }
}

TEST(Device, PutsAResponseTogetherThatArrivesByteByByte) {
  Peer peer;
  const auto device = peer.device();
  const Bytes response = wire::success_response(Bytes(20, 9));
  std::thread tpm([&] {
    (void)peer.read(get_random().size());
    for (const std::uint8_t byte : response) peer.write({&byte, 1});
  });
  const auto answer = device->transact(get_random(), 0);
  tpm.join();
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(*answer, response);
}

TEST(Device, WritesACommandThatDoesNotFitAtOnce) {
  Peer peer;
  const int small = 4096;
  ASSERT_EQ(::setsockopt(peer.tpm.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  const auto device = peer.device();
  const Bytes command = plain(cc::kStirRandom, Bytes(400'000, 3));  // above any socket buffer's default
  Bytes received;
  std::thread tpm([&] {
    received = peer.read(command.size());
    peer.write(wire::success_response({}));
  });
  const auto answer = device->transact(command, 0);
  tpm.join();
  EXPECT_TRUE(answer);
  EXPECT_EQ(received, command);
}

TEST(Device, NeverTrustsAMalformedResponse) {
  const struct {
    const char* name;
    Bytes response;
    bool closes;
    const char* says;
  } cases[] = {
      {"size below a header", wire::Writer().u16(0x8001).u32(9).u32(0).take(), false, "9 bytes"},
      {"size zero", wire::Writer().u16(0x8001).u32(0).u32(0).take(), false, "0 bytes"},
      {"giant size", wire::Writer().u16(0x8001).u32(0xFFFFFFFF).u32(0).take(), false, "4294967295"},
      {"just above 64 KiB", wire::Writer().u16(0x8001).u32(65537).u32(0).take(), false, "65537"},
      {"more than it says", wire::Writer().u16(0x8001).u32(10).u32(0).u8(1).take(), false, "1 bytes after"},
      {"death without a word", {}, true, "closed"},
      {"death in the header", {0x80, 0x01, 0x00}, true, "after 3 bytes"},
      {"death in the body", wire::Writer().u16(0x8001).u32(100).u32(0).take(), true, "after 10 bytes"},
  };
  for (const auto& row : cases) {
    const Answer answer = answer_to(row.response, row.closes);
    ASSERT_FALSE(answer) << row.name;
    EXPECT_EQ(answer.error().kind, ErrorKind::kGone) << row.name;
    EXPECT_NE(answer.error().what.find(row.says), std::string::npos) << row.name << ": " << answer.error().what;
    EXPECT_NE(answer.error().what.find("the TPM under test"), std::string::npos) << row.name;
  }
}

TEST(Device, TakesTheLargestResponse) {
  const Bytes response = wire::success_response(Bytes(65536 - 10, 1));
  const Answer answer = answer_to(response, false);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->size(), 65536U);
}

TEST(Device, DoesNotTakeALateAnswerForTheNextOne) {
  Peer peer;
  const auto device = peer.device();
  peer.write(wire::error_response(rc::kSuccess));
  const auto answer = device->transact(get_random(), 0);
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().what.find("were not requested"), std::string::npos);
}

TEST(Device, SaysSoWhenTheTpmIsGoneBeforeTheCommand) {
  Peer peer;
  const auto device = peer.device();
  peer.tpm.reset();
  const auto answer = device->transact(get_random(), 0);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kGone);
}

TEST(Device, HangingUpFreesAThreadThatWaits) {
  Peer peer;
  const auto device = peer.device();
  Answer answer;
  std::thread waiting([&] { answer = device->transact(get_random(), 0); });
  (void)peer.read(get_random().size());  // so it is waiting for the response, or about to
  device->hang_up();
  waiting.join();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kGone);
  EXPECT_FALSE(device->transact(get_random(), 0));
}

std::atomic<int> signals_handled = 0;

// Signals without SA_RESTART, as a daemon's may be: every system call of the transacting thread can end with EINTR.
TEST(Device, SignalsInterruptNothing) {
  struct sigaction quiet = {}, before = {};
  quiet.sa_handler = [](int) { ++signals_handled; };
  ASSERT_EQ(::sigaction(SIGUSR1, &quiet, &before), 0);
  Peer peer;
  const auto device = peer.device();
  const Bytes command = plain(cc::kStirRandom, Bytes(400'000, 3)), response = wire::success_response(Bytes(60'000, 7));
  std::atomic<bool> done = false;
  Answer answer;
  std::thread working([&] {
    answer = device->transact(command, 0);
    done = true;
  });
  std::thread tpm([&] {
    (void)peer.read(command.size());
    // Now the other thread has nothing to do but wait, and is interrupted in that.
    for (const int before_waiting = signals_handled; signals_handled < before_waiting + 50 && !done;)
      std::this_thread::yield();
    for (std::size_t at = 0; at < response.size(); at += 1000)
      peer.write(ByteView(response).subspan(at, std::min<std::size_t>(1000, response.size() - at)));
  });
  while (!done) ::pthread_kill(working.native_handle(), SIGUSR1);
  working.join();
  tpm.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(*answer, response);
}

TEST(Device, RefusesOtherLocalitiesAndSendsNothing) {
  Peer peer;
  const auto device = peer.device();
  const auto answer = device->transact(get_random(), 1);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kNotPossible);
  std::uint8_t byte = 0;
  EXPECT_EQ(::recv(peer.tpm.get(), &byte, 1, MSG_DONTWAIT), -1);
}

TEST(Device, OpenReportsAWrongPath) {
  const TempDir temp;
  const auto missing = DeviceTpm::open(temp / "tpm0");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().find("there is no TPM"), std::string::npos) << missing.error();
  const std::string file = temp / "file";
  const base::Fd made(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  const auto wrong = DeviceTpm::open(file);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().find("not a character device"), std::string::npos) << wrong.error();
}

TEST(Open, BuildsAChainOnADescriptor) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  base::Fd tpm_end(ends[1]);
  auto tpm = open_tpm({DescriptorSpec{ends[0]}, {}});
  ASSERT_TRUE(tpm) << tpm.error();
  // RETRY once, then an answer: seen by the caller is the answer, so the retrying link is there.
  std::thread peer([&] {
    Bytes data(get_random().size());
    for (const wire::Rc code : {rc::kRetry, rc::kSuccess}) {
      EXPECT_EQ(::recv(tpm_end.get(), data.data(), data.size(), MSG_WAITALL), std::ssize(data));
      const Bytes response = wire::error_response(code);
      EXPECT_EQ(::write(tpm_end.get(), response.data(), response.size()), std::ssize(response));
    }
  });
  EXPECT_EQ(code_of((*tpm)->transact(get_random(), 0)), rc::kSuccess);
  peer.join();
}

TEST(Open, SaysThatADescriptorIsNotOpen) {
  const auto tpm = open_tpm({DescriptorSpec{1'000'000}, {}});
  ASSERT_FALSE(tpm);
  EXPECT_NE(tpm.error().find("descriptor 1000000"), std::string::npos) << tpm.error();
}

}  // namespace
}  // namespace tpmspace::tpm
