// A context in a process that was forked: the test is the manager, children of it are the program.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>

#include "base/fd.h"
#include "client/fork_mark.h"
#include "tcti_context.h"

namespace tpmspace::tcti {
namespace {

const Bytes kOther = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7B, 0, 4};
const Bytes kJoinReply = encode(proto::Reply(proto::JoinReply{}));

class ForkTestBase : public testing::Test {
 public:
  // A child that ends well if `does` returns true.
  static pid_t start(const std::function<bool()>& does) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(does() ? 0 : 1);
    return child;
  }
  static void ends_well(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
};

class ForkTest : public ForkTestBase {
 protected:
  ForkTest()
      : quiet_("TSS2_LOG", "all+none"),
        service_(dir_.path("s")),
        tcti_("path=" + dir_.path("s")),
        peer_(service_.accept()) {
    EXPECT_EQ(tcti_.rc(), TSS2_RC_SUCCESS);
  }

  // The parent has sent the token by which a child can join.
  void run_a_command() {
    EXPECT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
    token_ = token_with_first_command(peer_);
    peer_.send(kHelloReply);
    peer_.send(kShareReply);
    peer_.send(kResponse);
    EXPECT_EQ(tcti_.receive(-1).second, kResponse);
  }
  // Plays the manager for a child that joins: its connection.
  Peer accept_joining(const proto::Token& token, std::uint64_t sent) {
    Peer peer = service_.accept();
    EXPECT_EQ(peer.read_frame(), encode(proto::Request(proto::Hello{})));
    EXPECT_EQ(peer.read_frame(), encode(proto::Request(proto::Join{token, sent})));
    peer.send(kHelloReply);
    peer.send(kJoinReply);
    return peer;
  }
  // Its first command: it has said Hello.
  static proto::Token answer_first_command(Peer& peer, const Bytes& response) {
    EXPECT_EQ(peer.read_frame(), kCommand);
    const Bytes share = peer.read_frame();
    peer.send(kShareReply);
    peer.send(response);
    proto::Token token{};
    std::copy(share.begin() + proto::kFrameHeaderSize, share.end(), token.begin());
    return token;
  }

  Variable quiet_;
  TempDir dir_;
  Service service_;
  Context tcti_;
  Peer peer_;
  proto::Token token_{};
};

bool asks(const Context& tcti) {
  return tcti.transmit(kCommand) == TSS2_RC_SUCCESS && tcti.receive(-1).second == kResponse;
}

TEST_F(ForkTest, AChildJoinsWithAConnectionOfItsOwn) {
  run_a_command();
  const pid_t child = start([&] { return asks(tcti_) && asks(tcti_); });
  Peer own = accept_joining(token_, 1);
  EXPECT_NE(answer_first_command(own, kResponse), token_) << "it has a token of its own";
  EXPECT_EQ(own.read_frame(), kCommand);
  own.send(kResponse);
  ends_well(child);
  EXPECT_FALSE(peer_.has_more()) << "the parent's connection is not used";
  ASSERT_EQ(tcti_.transmit(kOther), TSS2_RC_SUCCESS);
  EXPECT_EQ(peer_.read_frame(), kOther);
}

TEST_F(ForkTest, AChildOfAChildJoinsTheChild) {
  run_a_command();
  const pid_t child = start([&] {
    if (!asks(tcti_)) return false;
    const pid_t grandchild = start([&] { return asks(tcti_); });
    ends_well(grandchild);
    return !testing::Test::HasFailure();
  });
  Peer own = accept_joining(token_, 1);
  const proto::Token token_of_child = answer_first_command(own, kResponse);
  Peer of_grandchild = accept_joining(token_of_child, 1);
  (void)answer_first_command(of_grandchild, kResponse);
  ends_well(child);
}

TEST_F(ForkTest, AChildOfAChildThatNeverSpokeJoinsTheParent) {
  run_a_command();
  const pid_t child = start([&] {
    ends_well(start([&] { return asks(tcti_); }));
    return !testing::Test::HasFailure();
  });
  Peer own = accept_joining(token_, 1);
  (void)answer_first_command(own, kResponse);
  ends_well(child);
}

TEST_F(ForkTest, TheResponseThatTheParentAwaitsIsTheParents) {
  run_a_command();
  ASSERT_EQ(tcti_.transmit(kOther), TSS2_RC_SUCCESS);
  EXPECT_EQ(peer_.read_frame(), kOther);
  peer_.send(kResponse);
  ends_well(start([&] {
    return tcti_.receive(-1).first == TSS2_TCTI_RC_BAD_SEQUENCE &&
           Tss2_Tcti_Cancel(tcti_.get()) == TSS2_TCTI_RC_BAD_SEQUENCE;
  }));
  EXPECT_EQ(tcti_.receive(-1).second, kResponse);
}

TEST_F(ForkTest, AResponseWhoseSizeWasAskedIsTheParentsToo) {
  run_a_command();
  ASSERT_EQ(tcti_.transmit(kOther), TSS2_RC_SUCCESS);
  peer_.send(kResponse);
  std::size_t size = 0;
  ASSERT_EQ(Tss2_Tcti_Receive(tcti_.get(), &size, nullptr, -1), TSS2_RC_SUCCESS);
  ends_well(start([&] { return tcti_.receive(0).first == TSS2_TCTI_RC_BAD_SEQUENCE; }));
  EXPECT_EQ(tcti_.receive(-1).second, kResponse);
}

// The parent awaits a response and waits for the child: no process has to wait for the other's response.
TEST_F(ForkTest, AParentThatAwaitsAResponseCanWaitForAChildThatAsks) {
  run_a_command();
  ASSERT_EQ(tcti_.transmit(kOther), TSS2_RC_SUCCESS);
  const pid_t child = start([&] { return asks(tcti_); });
  Peer own = accept_joining(token_, 2);
  (void)answer_first_command(own, kResponse);
  ends_well(child);
  EXPECT_EQ(peer_.read_frame(), kOther);
  peer_.send(kResponse);
  EXPECT_EQ(tcti_.receive(-1).second, kResponse);
}

TEST_F(ForkTest, AChildThatFinalizesDoesNotDisturbTheParent) {
  run_a_command();
  ends_well(start([&] {
    tcti_.finalize();
    return true;
  }));
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  EXPECT_EQ(peer_.read_frame(), kCommand);
  peer_.send(kResponse);
  EXPECT_EQ(tcti_.receive(-1).second, kResponse);
}

TEST_F(ForkTest, TheConnectionLivesForAChildThatHasNotJoinedYet) {
  run_a_command();
  std::array<int, 2> go{};
  ASSERT_EQ(::pipe(go.data()), 0);
  const pid_t child = start([&] {
    char byte = 0;
    return ::read(go[0], &byte, 1) == 1 && asks(tcti_) && ::fcntl(go[0], F_GETFD) >= 0;
  });
  tcti_.finalize();
  EXPECT_FALSE(peer_.has_more());
  EXPECT_EQ(::write(go[1], "x", 1), 1);
  Peer own = accept_joining(token_, 1);
  EXPECT_TRUE(peer_.closed()) << "it joined, so that it needs the inherited one no more";
  (void)answer_first_command(own, kResponse);
  ends_well(child);
}

TEST_F(ForkTest, ADescriptorThatIsPolledStaysTheSame) {
  run_a_command();
  TSS2_TCTI_POLL_HANDLE before{};
  std::size_t count = 1;
  ASSERT_EQ(Tss2_Tcti_GetPollHandles(tcti_.get(), &before, &count), TSS2_RC_SUCCESS);
  const pid_t child = start([&] {
    TSS2_TCTI_POLL_HANDLE now{};
    std::size_t one = 1;
    return Tss2_Tcti_GetPollHandles(tcti_.get(), &now, &one) == TSS2_RC_SUCCESS && now.fd == before.fd &&
           (::fcntl(now.fd, F_GETFD) & FD_CLOEXEC) != 0 && tcti_.transmit(kCommand) == TSS2_RC_SUCCESS &&
           ::poll(&before, 1, 60'000) == 1 && tcti_.receive(0).first != TSS2_TCTI_RC_BAD_SEQUENCE &&
           tcti_.receive(-1).first != TSS2_TCTI_RC_IO_ERROR;
  });
  Peer own = accept_joining(token_, 1);
  (void)answer_first_command(own, kResponse);
  ends_well(child);
}

// Daemons close all descriptors that they inherited, and use the numbers for something else.
TEST_F(ForkTest, ADescriptorThatTheChildUsesForSomethingElseIsLeftAlone) {
  run_a_command();
  TSS2_TCTI_POLL_HANDLE handle{};
  std::size_t count = 1;
  ASSERT_EQ(Tss2_Tcti_GetPollHandles(tcti_.get(), &handle, &count), TSS2_RC_SUCCESS);
  const std::string file = dir_.path("file");
  const auto reuse = [&] {
    ::close(handle.fd);
    const int other = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    return ::dup2(other, handle.fd) == handle.fd && (other == handle.fd || ::close(other) == 0);
  };
  const pid_t child = start([&] { return reuse() && asks(tcti_) && ::write(handle.fd, "x", 1) == 1; });
  Peer own = accept_joining(token_, 1);
  (void)answer_first_command(own, kResponse);
  ends_well(child);
  ends_well(start([&] {
    if (!reuse()) return false;
    tcti_.finalize();
    return ::write(handle.fd, "x", 1) == 1;
  }));
}

TEST_F(ForkTest, BeforeTheFirstCommandThereIsNothingToJoin) {
  const pid_t child = start([&] { return asks(tcti_); });
  Peer own = service_.accept();
  (void)token_with_first_command(own);
  own.send(kHelloReply);
  own.send(kShareReply);
  own.send(kResponse);
  ends_well(child);
}

TEST_F(ForkTest, TheLocalityIsInherited) {
  peer_.send(kHelloReply);
  peer_.send(kLocalityReply);
  ASSERT_EQ(Tss2_Tcti_SetLocality(tcti_.get(), 2), TSS2_RC_SUCCESS);
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  EXPECT_EQ(peer_.read_frame(), encode(proto::Request(proto::Hello{})));
  EXPECT_EQ(peer_.read_frame(), encode(proto::Request(proto::Locality{2})));
  token_ = answer_first_command(peer_, kResponse);
  EXPECT_EQ(tcti_.receive(-1).second, kResponse);
  const pid_t child = start([&] { return asks(tcti_); });
  Peer own = accept_joining(token_, 1);
  EXPECT_EQ(own.read_frame(), encode(proto::Request(proto::Locality{2})));
  own.send(kLocalityReply);
  (void)answer_first_command(own, kResponse);
  ends_well(child);
}

class NoConnection : public ForkTest {
 protected:
  // The child's context returns IO_ERROR and logs one line with the reason.
  void is_refused_with(const std::string& words) {
    const Variable loud("TSS2_LOG", "tcti+error");
    testing::internal::CaptureStderr();
    const pid_t child = start([&] {
      const bool refused =
          tcti_.transmit(kCommand) == TSS2_TCTI_RC_IO_ERROR && tcti_.receive(0).first == TSS2_TCTI_RC_BAD_SEQUENCE;
      return refused && tcti_.transmit(kCommand) == TSS2_TCTI_RC_IO_ERROR;
    });
    if (manager_) manager_();
    ends_well(child);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("fork()"), std::string::npos) << said;
    EXPECT_NE(said.find(words), std::string::npos) << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  }
  std::function<void()> manager_;
};

TEST_F(NoConnection, WhenTheManagerIsGone) {
  run_a_command();
  std::filesystem::remove(dir_.path("s"));
  is_refused_with("there is no such socket");
}

TEST_F(NoConnection, WhenItRefuses) {
  run_a_command();
  manager_ = [&] {
    for (int i = 0; i < 2; ++i) {
      Peer own = service_.accept();
      EXPECT_EQ(own.read_frame(), encode(proto::Request(proto::Hello{})));
      (void)own.read_frame();
      own.send(kHelloReply);
      own.send(encode(proto::Reply(proto::Refusal{14, 0x000B0084})));
    }
  };
  is_refused_with("no longer exists");
}

TEST_F(NoConnection, WhenItIsOlder) {
  run_a_command();
  manager_ = [&] {
    for (int i = 0; i < 2; ++i) {
      Peer own = service_.accept();
      (void)own.read_frame();
      own.send(kHelloReply);
      own.send(encode(proto::Reply(proto::Refusal{14, 0x000B0143})));
    }
  };
  is_refused_with("0x000b0143");
}

// --- fd=N: one connection for several processes

class OneDescriptor : public ForkTestBase {
 protected:
  OneDescriptor() : quiet_("TSS2_LOG", "all+none") {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    theirs_.reset(ends[0]);
    manager_ = std::make_unique<Peer>(base::Fd(ends[1]));
    config_ = "fd=" + std::to_string(ends[0]);
  }
  // A process that was not the last to use the descriptor asks where its own responses begin.
  void answer_sync(const Bytes& before = {}) {
    EXPECT_EQ(manager_->read_frame(), encode(proto::Request(proto::Hello{})));
    const Bytes sync = manager_->read_frame();
    const auto request = proto::decode_request({static_cast<std::uint32_t>(proto::MessageType::kSync),
                                                Bytes(sync.begin() + proto::kFrameHeaderSize, sync.end())});
    ASSERT_TRUE(request && std::holds_alternative<proto::Sync>(*request));
    manager_->send(kHelloReply);
    manager_->send(before);
    manager_->send(encode(proto::Reply(proto::SyncReply{std::get<proto::Sync>(*request).mark})));
  }
  void answer_command(const Bytes& response = kResponse) {
    EXPECT_EQ(manager_->read_frame(), kCommand);
    manager_->send(response);
  }

  Variable quiet_;
  base::Fd theirs_;
  std::unique_ptr<Peer> manager_;
  std::string config_;
};

TEST_F(OneDescriptor, AProcessThatUsesItAloneAsksOnce) {
  const pid_t child = start([&] {
    const Context tcti(config_);
    const bool first = asks(tcti), second = asks(tcti);
    return first && second;
  });
  answer_sync();
  answer_command();
  answer_command();
  ends_well(child);
  EXPECT_FALSE(manager_->has_more());
}

TEST_F(OneDescriptor, TheResponseOfAProcessThatEndedIsDropped) {
  const Bytes stale = {0x80, 0x01, 0, 0, 0, 13, 0, 0, 0, 0, 0, 1, 9};
  ends_well([&] {
    const pid_t child = start([&] {
      const Context tcti(config_);
      return tcti.transmit(kCommand) == TSS2_RC_SUCCESS;
    });
    answer_sync();
    return child;
  }());
  EXPECT_EQ(manager_->read_frame(), kCommand);
  const pid_t next = start([&] {
    const Context tcti(config_);
    return asks(tcti);
  });
  answer_sync(stale);
  answer_command();
  ends_well(next);
}

TEST_F(OneDescriptor, AnotherProcessWaitsForTheResponse) {
  Context tcti(config_);
  std::array<int, 2> started{};
  ASSERT_EQ(::pipe(started.data()), 0);
  const pid_t manager = start([&] {
    answer_sync();
    return !testing::Test::HasFailure();
  });
  ASSERT_EQ(tcti.transmit(kCommand), TSS2_RC_SUCCESS);
  ends_well(manager);
  const pid_t other = start([&] {
    const Context own(config_);
    return ::write(started[1], "x", 1) == 1 && asks(own);
  });
  char byte = 0;
  ASSERT_EQ(::read(started[0], &byte, 1), 1);
  EXPECT_EQ(manager_->read_frame(), kCommand);
  EXPECT_FALSE(manager_->has_more()) << "it waits";
  manager_->send(kResponse);
  EXPECT_EQ(tcti.receive(-1).second, kResponse);
  answer_sync();
  answer_command();
  ends_well(other);
}

TEST_F(OneDescriptor, AChildOfTheProcessThatUsesItTakesItsTurn) {
  Context tcti(config_);
  const pid_t manager = start([&] {
    answer_sync();
    answer_command();
    return !testing::Test::HasFailure();
  });
  ASSERT_TRUE(asks(tcti));
  ends_well(manager);
  const pid_t child = start([&] { return tcti.receive(0).first == TSS2_TCTI_RC_BAD_SEQUENCE && asks(tcti); });
  answer_sync();
  answer_command();
  ends_well(child);
}

TEST(ForkMark, KnowsTheProcessThatSetIt) {
  client::ForkMark mark;
  EXPECT_FALSE(mark.is_forked());
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = mark.is_forked();
    const pid_t untouched = ::fork();
    if (untouched == 0) ::_exit(mark.is_forked() ? 0 : 1);
    int status = 1;
    good = good && ::waitpid(untouched, &status, 0) == untouched && status == 0;
    mark.set();
    good = good && !mark.is_forked();
    const pid_t grandchild = ::fork();
    if (grandchild == 0) ::_exit(mark.is_forked() ? 0 : 1);
    good = good && ::waitpid(grandchild, &status, 0) == grandchild && status == 0;
    ::_exit(good ? 0 : 1);
  }
  int status = 1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(mark.is_forked());
}

}  // namespace
}  // namespace tpmspace::tcti
