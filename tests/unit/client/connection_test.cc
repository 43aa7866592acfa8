// The client's side of a connection, against a peer that the test plays itself.
#include "client/connection.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <thread>

#include "client/socket_path.h"
#include "temp_dir.h"

namespace tpmspace::client {
namespace {

using proto::encode;
using proto::Reply;
using proto::Request;
using testing_support::Peer;
using testing_support::Service;
using testing_support::TempDir;
using testing_support::Variable;
using wire::Bytes;
using Kind = Error::Kind;

constexpr int kPatient = 60'000;  // a bound for data that comes at once

const Bytes kCommand = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7B, 0, 8};
const Bytes kResponse = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0};

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}
const Bytes kHello = encode(Request(proto::Hello{}));
const Bytes kHelloReply = encode(Reply(proto::HelloReply{1, "tpmspaced test", 77}));
const Bytes kCancelReply = encode(Reply(proto::CancelReply{}));

class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() : peer_(base::Fd()), connection_(make(peer_)) {}

  static Connection make(Peer& peer) {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    peer = Peer(base::Fd(ends[0]));
    return Connection::adopt(base::Fd(ends[1]), "a test");
  }

  Peer peer_;
  Connection connection_;
};

TEST_F(ConnectionTest, SendsAndReceives) {
  ASSERT_TRUE(connection_.send(kCommand));
  EXPECT_EQ(peer_.read(12), kCommand);
  peer_.send(kResponse);
  EXPECT_EQ(connection_.receive(-1).value(), kResponse);
}

TEST_F(ConnectionTest, ATimeoutKeepsTheReceivedBytes) {
  for (const std::uint8_t byte : kResponse) {
    ASSERT_EQ(connection_.receive(0).value(), std::nullopt);
    peer_.send(Bytes{byte});
  }
  EXPECT_EQ(connection_.receive(0).value(), kResponse);
  EXPECT_EQ(connection_.receive(1).value(), std::nullopt);
}

TEST_F(ConnectionTest, SaysHelloBeforeTheFirstControlMessage) {
  peer_.send(join({kHelloReply, encode(Reply(proto::LocalityReply{}))}));
  ASSERT_TRUE(connection_.set_locality(2, kPatient));
  const Bytes expected = join({kHello, encode(Request(proto::Locality{2}))});
  EXPECT_EQ(peer_.read(expected.size()), expected);
  peer_.send(kCancelReply);
  ASSERT_TRUE(connection_.cancel(kPatient));
  EXPECT_EQ(peer_.read(10), encode(Request(proto::Cancel{})));
  EXPECT_FALSE(peer_.has_more());
}

TEST_F(ConnectionTest, HelloNamesTheServer) {
  peer_.send(kHelloReply);
  const auto hello = connection_.hello(kPatient);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->server, "tpmspaced test");
  EXPECT_EQ(hello->pid, 77U);
}

TEST_F(ConnectionTest, StatusComesWhole) {
  proto::Status status;
  status.connections_ever = 12;
  status.tpm_commands_by_code.resize(3000);
  peer_.send(join({kHelloReply, encode(Reply(proto::StatusReply{status}))}));
  EXPECT_EQ(connection_.status(kPatient).value(), status);
}

TEST_F(ConnectionTest, TheCancelReplyMayComeBeforeOrAfterTheResponse) {
  ASSERT_TRUE(connection_.send(kCommand));
  ASSERT_TRUE(connection_.post_cancel());
  peer_.send(join({kHelloReply, kCancelReply, kResponse}));
  EXPECT_EQ(connection_.receive(kPatient).value(), kResponse);

  ASSERT_TRUE(connection_.send(kCommand));
  ASSERT_TRUE(connection_.post_cancel());
  peer_.send(join({kResponse, kCancelReply}));
  EXPECT_EQ(connection_.receive(kPatient).value(), kResponse);

  peer_.send(join({encode(Reply(proto::LocalityReply{})), kResponse}));
  EXPECT_TRUE(connection_.set_locality(1, kPatient));
  EXPECT_EQ(connection_.receive(kPatient).value(), kResponse);
}

TEST_F(ConnectionTest, AResponseThatComesDuringAControlCallIsKept) {
  ASSERT_TRUE(connection_.send(kCommand));
  peer_.send(join({kResponse, kHelloReply, kCancelReply}));
  ASSERT_TRUE(connection_.cancel(kPatient));
  EXPECT_EQ(connection_.receive(0).value(), kResponse);
}

TEST_F(ConnectionTest, ALateControlReplyIsSkipped) {
  const auto hello = connection_.hello(1);
  ASSERT_FALSE(hello);
  EXPECT_EQ(hello.error().kind, Kind::kTimeout);
  peer_.send(join({kHelloReply, kCancelReply}));
  EXPECT_TRUE(connection_.cancel(kPatient));
}

TEST_F(ConnectionTest, ARefusalCarriesItsCode) {
  peer_.send(join({kHelloReply, encode(Reply(proto::Refusal{3, 0x000B0907}))}));
  const auto set = connection_.set_locality(4, kPatient);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().kind, Kind::kRefused);
  EXPECT_EQ(set.error().code, 0x000B0907U);
}

TEST_F(ConnectionTest, AServerOfAnotherVersionIsNamed) {
  peer_.send(join({encode(Reply(proto::Refusal{1, 0x000B0084, 3})), encode(Reply(proto::Refusal{4, 0x000B0103}))}));
  const auto status = connection_.status(kPatient);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().what.find("version 3"), std::string::npos) << status.error().what;
}

TEST_F(ConnectionTest, AManagerWithoutAPlaceIsNoOtherVersion) {
  peer_.send(encode(Reply(proto::Refusal{1, kNoPlace})));
  peer_.hang_up();
  for (const auto& error : {connection_.hello(kPatient).error(), connection_.status(kPatient).error()}) {
    EXPECT_EQ(error.code, kNoPlace);
    EXPECT_EQ(error.kind, Kind::kRefused);
    EXPECT_NE(error.what.find("refuses further connections"), std::string::npos) << error.what;
    EXPECT_NE(error.what.find("limits.connections"), std::string::npos) << error.what;
    EXPECT_EQ(error.what.find("version"), std::string::npos) << error.what;
  }
}

TEST_F(ConnectionTest, AFullManagerIsNamedToLaterRequests) {
  peer_.send(encode(Reply(proto::Refusal{1, kNoPlace})));
  peer_.hang_up();
  const auto status = connection_.status(kPatient);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().what.find("refuses further connections"), std::string::npos) << status.error().what;
}

TEST_F(ConnectionTest, AClosedConnectionIsAnErrorAndNoSignal) {
  peer_.hang_up();
  const auto sent = connection_.send(kCommand);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind, Kind::kClosed);
  EXPECT_EQ(connection_.receive(-1).error().kind, Kind::kClosed);
  EXPECT_EQ(connection_.post_cancel().error().kind, Kind::kClosed);
}

TEST_F(ConnectionTest, AResponseBeforeTheEndIsStillReceived) {
  peer_.send(kResponse);
  peer_.hang_up();
  EXPECT_EQ(connection_.receive(-1).value(), kResponse);
  EXPECT_EQ(connection_.receive(-1).error().kind, Kind::kClosed);
}

TEST_F(ConnectionTest, DataOfAnotherProtocolEndsIt) {
  for (const Bytes& bytes :
       {Bytes{0x80, 0x01, 0, 0, 0, 3, 0, 0, 0, 0}, kCancelReply, Bytes{0x80, 0x01, 0x7F, 0, 0, 0, 0, 0, 0, 0},
        Bytes{0x53, 0x50, 0, 0, 0, 10, 0, 0, 0, 1}}) {
    Peer peer{base::Fd()};
    Connection connection = make(peer);
    peer.send(bytes);
    EXPECT_EQ(connection.receive(-1).error().kind, Kind::kProtocol);
    EXPECT_EQ(connection.send(kCommand).error().kind, Kind::kProtocol);
  }
}

TEST_F(ConnectionTest, UnaskedResponsesAreBounded) {
  for (std::size_t i = 0; i <= Connection::kMaxKept; ++i) peer_.send(kResponse);
  EXPECT_EQ(connection_.hello(kPatient).error().kind, Kind::kProtocol);
}

void nothing(int) {}

// More than a socket holds, with signals that interrupt: every byte arrives, in order.
TEST_F(ConnectionTest, InterruptedCallsGoOn) {
  struct sigaction action {};
  action.sa_handler = nothing;
  struct sigaction old {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
  constexpr int kFrames = 60;
  wire::Writer frame;
  frame.u16(0x8001).u32(60'000).u32(0).raw(Bytes(59'990, 0x5A));
  const pthread_t self = pthread_self();
  std::thread other([&] {
    for (int i = 0; i < kFrames; ++i) {
      pthread_kill(self, SIGUSR1);
      EXPECT_EQ(peer_.read(60'000), frame.bytes());
    }
    for (const std::uint8_t byte : kResponse) {
      pthread_kill(self, SIGUSR1);
      peer_.send(Bytes{byte});
    }
  });
  for (int i = 0; i < kFrames; ++i) EXPECT_TRUE(connection_.send(frame.bytes()));
  EXPECT_EQ(connection_.receive(-1).value(), kResponse);
  other.join();
  sigaction(SIGUSR1, &old, nullptr);
}

TEST_F(ConnectionTest, ServesAnEventLoop) {
  pollfd ready{connection_.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  peer_.send(kResponse);
  EXPECT_EQ(poll(&ready, 1, kPatient), 1);
  EXPECT_EQ(connection_.receive(0).value(), kResponse);
}

TEST(Open, ConnectsToASocket) {
  const TempDir dir;
  Service service(dir.path("s"));
  auto connection = Connection::open(dir.path("s"));
  ASSERT_TRUE(connection);
  Peer peer = service.accept();
  ASSERT_TRUE(connection->send(kCommand));
  EXPECT_EQ(peer.read(12), kCommand);
}

TEST(Open, AMissingServerIsASentence) {
  const TempDir dir;
  const auto connection = Connection::open(dir.path("s"));
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().kind, Kind::kNoService);
  EXPECT_EQ(connection.error().what,
            "no tpmspaced at " + dir.path("s") + ": there is no such socket; start one, or use `tpmspace run -- CMD`");
}

TEST(Open, AStaleSocketIsNamed) {
  const TempDir dir;
  { const Service gone(dir.path("s")); }
  const auto connection = Connection::open(dir.path("s"));
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().kind, Kind::kNoService);
  EXPECT_NE(connection.error().what.find("no process serves it"), std::string::npos);
}

TEST(Open, APathThatNoSocketCanHave) {
  for (const std::string& path : {std::string(), "/" + std::string(103, 'x'), std::string("/a\0b", 4)})
    EXPECT_EQ(Connection::open(path).error().kind, Kind::kBadPath);
  EXPECT_EQ(Connection::open("/" + std::string(102, 'x')).error().kind, Kind::kNoService);
  const std::string what = Connection::open("/" + std::string(103, 'x')).error().what;
  EXPECT_TRUE(what.starts_with("the path of the socket is too long: it has 104 bytes, at most 103 are possible: /x"))
      << what;
}

std::string said_of(const std::string& path) {
  const auto connection = Connection::open(path);
  return connection ? "connected" : connection.error().what;
}

TEST(Open, AFileThatIsNoSocketIsNamed) {
  const TempDir dir;
  const std::string remedy = "; name another socket with TPMSPACE_SOCKET or the program's own option";
  EXPECT_EQ(said_of(dir.path()), "no tpmspaced at " + dir.path() + ": that is a directory, not a socket" + remedy);
  std::ofstream(dir.path("file")) << "x";
  EXPECT_EQ(said_of(dir.path("file")),
            "no tpmspaced at " + dir.path("file") + ": that is a plain file, not a socket" + remedy);
  EXPECT_EQ(said_of(dir.path("file/s")),
            "no tpmspaced at " + dir.path("file/s") + ": a part of that path is not a directory" + remedy);
}

// Root may connect to anything, so a child of the user nobody asks.
TEST(Open, AForbiddenUserIsToldTheReason) {
  const TempDir dir;
  const Service service(dir.path("s"));
  std::filesystem::create_directory(dir.path("closed"));
  const Service hidden(dir.path("closed/s"));
  const auto as_nobody = [](const std::string& path, const std::string& part) {
    const pid_t child = fork();
    if (child == 0) {
      if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(2);
      _exit(said_of(path).find(part) != std::string::npos ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
  };
  chmod(dir.path().c_str(), 0755);
  chmod(dir.path("s").c_str(), 0000);
  EXPECT_EQ(as_nobody(dir.path("s"), ": Permission denied, its mode is 0000, its owner uid "), 0);
  chmod(dir.path("closed").c_str(), 0000);
  EXPECT_EQ(as_nobody(dir.path("closed/s"), ": Permission denied, a directory of its path cannot be entered; "), 0);
  chmod(dir.path("closed").c_str(), 0700);
}

TEST(SocketPath, FollowsTheEnvironment) {
  const TempDir dir;
  const Variable none("TPMSPACE_SOCKET", nullptr);
  const Variable home("XDG_RUNTIME_DIR", dir.path().c_str());
  EXPECT_EQ(default_socket_path(), "/run/tpmspace/tpm.sock");
  std::filesystem::create_directory(dir.path("tpmspace"));
  const Service service(dir.path("tpmspace/tpm.sock"));
  EXPECT_EQ(default_socket_path(), dir.path("tpmspace/tpm.sock"));
  const Variable own("TPMSPACE_SOCKET", "/somewhere");
  EXPECT_EQ(default_socket_path(), "/somewhere");
  const Variable empty("TPMSPACE_SOCKET", "");
  EXPECT_EQ(default_socket_path(), dir.path("tpmspace/tpm.sock"));
}

// --- several processes

const proto::Token kToken{1, 2, 3};

TEST_F(ConnectionTest, TheTokenGoesBehindTheFirstFrame) {
  connection_.let_join(kToken);
  EXPECT_EQ(connection_.sent(), 0U);
  ASSERT_TRUE(connection_.send(kCommand));
  ASSERT_TRUE(connection_.send(kCommand));
  EXPECT_EQ(connection_.sent(), 2U);
  const Bytes share = encode(Request(proto::Share{kToken}));
  const Bytes expected = join({kCommand, kHello, share, kCommand});
  EXPECT_EQ(peer_.read(expected.size()), expected);
  EXPECT_FALSE(peer_.has_more());
}

TEST_F(ConnectionTest, AManagerThatDoesNotKnowTokensIsNoTrouble) {
  connection_.let_join(kToken);
  ASSERT_TRUE(connection_.send(kCommand));
  peer_.send(join({kHelloReply, encode(Reply(proto::Refusal{13, 0x000B0143})), kResponse}));
  const auto response = connection_.receive(kPatient);
  ASSERT_TRUE(response && *response);
  EXPECT_EQ(**response, kResponse);
}

TEST_F(ConnectionTest, JoiningSaysWhyNot) {
  peer_.send(join({kHelloReply, encode(Reply(proto::JoinReply{}))}));
  EXPECT_TRUE(connection_.join(kToken, 7, kPatient));
  const Bytes expected = join({kHello, encode(Request(proto::Join{kToken, 7}))});
  EXPECT_EQ(peer_.read(expected.size()), expected);
  for (const auto& [code, words] : {std::pair(0x000B0084U, "no longer exists"), std::pair(0x000B0120U, "narrowed"),
                                    std::pair(0x000B0902U, "has room for")}) {
    peer_.send(encode(Reply(proto::Refusal{14, code})));
    const auto refused = connection_.join(kToken, 7, kPatient);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kRefused);
    EXPECT_NE(refused.error().what.find(words), std::string::npos) << refused.error().what;
  }
}

TEST_F(ConnectionTest, ADescriptorThatAnotherProcessUsesIsWaitedForNoLongerThanAsked) {
  std::array<int, 2> held{}, end{};
  ASSERT_EQ(::pipe(held.data()), 0);
  ASSERT_EQ(::pipe(end.data()), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    // As if it had its turn: only the lock counts.
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    const bool locked = ::fcntl(connection_.fd(), F_SETLK, &lock) == 0;
    char byte = 0;
    const bool told = ::write(held[1], "x", 1) == 1 && ::read(end[0], &byte, 1) == 1;
    ::_exit(locked && told ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(held[0], &byte, 1), 1);
  const auto turn = connection_.begin_turn(0);
  ASSERT_FALSE(turn);
  EXPECT_EQ(turn.error().kind, Kind::kTimeout);
  EXPECT_NE(turn.error().what.find("process " + std::to_string(holder)), std::string::npos) << turn.error().what;
  EXPECT_EQ(::write(end[1], "x", 1), 1);
  int status = 1;
  EXPECT_EQ(::waitpid(holder, &status, 0), holder);
  EXPECT_EQ(status, 0);
}

TEST_F(ConnectionTest, AnOlderManagerCannotSayWhereATurnBegins) {
  peer_.send(join(
      {kHelloReply, encode(Reply(proto::Refusal{static_cast<std::uint32_t>(proto::MessageType::kSync), 0x000B0143}))}));
  const auto turn = connection_.begin_turn(kPatient);
  ASSERT_FALSE(turn);
  EXPECT_NE(turn.error().what.find("older than this program"), std::string::npos) << turn.error().what;
}

}  // namespace
}  // namespace tpmspace::client
