// The library as another project's program sees it.
#include <poll.h>

#include <array>
#include <atomic>
#include <thread>

#include "tcti_context.h"

namespace tpmspace::tcti {
namespace {

class LibraryTest : public testing::Test {
 protected:
  LibraryTest()
      : quiet_("TSS2_LOG", "all+none"),
        service_(dir_.path("s")),
        tcti_("path=" + dir_.path("s")),
        peer_(service_.accept()) {
    EXPECT_EQ(tcti_.rc(), TSS2_RC_SUCCESS);
  }
  // With it the manager is told by which token the connection may be joined.
  void read_first_command() { (void)token_with_first_command(peer_); }

  Variable quiet_;
  TempDir dir_;
  Service service_;
  Context tcti_;
  Peer peer_;
};

std::string output_of(const std::string& command) {
  std::string out;
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen(command.c_str(), "r"),  // NOLINT(cert-env33-c): a command of this test
      [](FILE* file) { return pclose(file); });
  std::array<char, 512> buffer{};
  while (fgets(buffer.data(), buffer.size(), pipe.get()) != nullptr) out += buffer.data();
  return out;
}

TEST(Library, ExportsExactlyTwoSymbols) {
  EXPECT_EQ(output_of("nm -D --defined-only --format=just-symbols '" + library_path() + "' | sort"),
            "Tss2_Tcti_Info\nTss2_Tcti_Space_Init\n");
}

TEST(Library, HasTheNamesThatTctildrLooksFor) {
  EXPECT_TRUE(std::filesystem::exists(library_path()));
  const auto link = std::filesystem::path(library_path()).replace_extension();
  EXPECT_EQ(std::filesystem::read_symlink(link), "libtss2-tcti-space.so.0");
}

TEST(Library, DescribesItself) {
  EXPECT_EQ(info().version, 2U);
  EXPECT_STREQ(info().name, "tcti-space");
  EXPECT_NE(std::string(info().config_help).find("path=PATH,locality=N"), std::string::npos);
}

TEST(Init, TellsItsSizeAndWantsIt) {
  std::size_t size = 0;
  EXPECT_EQ(info().init(nullptr, &size, nullptr), TSS2_RC_SUCCESS);
  EXPECT_GE(size, sizeof(TSS2_TCTI_CONTEXT_COMMON_V2));
  EXPECT_EQ(info().init(nullptr, nullptr, nullptr), TSS2_TCTI_RC_BAD_VALUE);
  std::size_t little = size - 1;
  Bytes memory(size);
  auto* context = reinterpret_cast<TSS2_TCTI_CONTEXT*>(memory.data());  // NOLINT
  EXPECT_EQ(info().init(context, &little, "/nowhere"), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
}

TEST(Init, SaysWhyItCannot) {
  const TempDir dir;
  testing::internal::CaptureStderr();
  EXPECT_EQ(Context("path=" + dir.path("none")).rc(), TSS2_TCTI_RC_NO_CONNECTION);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "ERROR:tcti:space: no tpmspaced at " + dir.path("none") +
                                                        ": there is no such socket; start one, or use `tpmspace run "
                                                        "-- CMD`\n");
}

TEST(Init, IsSilentWhenTheTssIs) {
  for (const char* levels : {"all+none", "tcti+none", "all+error,tcti+none", "all+NONE"}) {
    const Variable log("TSS2_LOG", levels);
    testing::internal::CaptureStderr();
    EXPECT_EQ(Context("nonsense=1").rc(), TSS2_TCTI_RC_BAD_VALUE);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << levels;
  }
}

TEST(Init, AFailureLeavesTheMemoryAsItWas) {
  const Variable quiet("TSS2_LOG", "all+none");
  const TempDir dir;
  EXPECT_EQ(Context("path=" + dir.path("none")).version(), 0U);
  EXPECT_EQ(Context("path=/" + std::string(200, 'x')).rc(), TSS2_TCTI_RC_BAD_VALUE);
}

TEST(Init, TakesTheDefaultSocket) {
  const TempDir dir;
  Service service(dir.path("s"));
  const Variable socket("TPMSPACE_SOCKET", dir.path("s").c_str());
  std::size_t size = 0;
  ASSERT_EQ(info().init(nullptr, &size, nullptr), TSS2_RC_SUCCESS);
  const Context tcti("");
  EXPECT_EQ(tcti.rc(), TSS2_RC_SUCCESS);
}

TEST_F(LibraryTest, SendsACommandAndReceivesItsResponse) {
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  EXPECT_EQ(peer_.read(12), kCommand);
  peer_.send(kResponse);
  EXPECT_EQ(tcti_.receive(TSS2_TCTI_TIMEOUT_BLOCK), (std::pair{TSS2_RC{TSS2_RC_SUCCESS}, kResponse}));
}

TEST_F(LibraryTest, ReceiveGoesOnWhereATimeoutLeftIt) {
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  for (const std::uint8_t byte : kResponse) {
    EXPECT_EQ(tcti_.receive(0).first, TSS2_TCTI_RC_TRY_AGAIN);
    peer_.send(Bytes{byte});
  }
  EXPECT_EQ(tcti_.receive(0).second, kResponse);
}

TEST_F(LibraryTest, ReceiveTellsTheSizeFirst) {
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  std::size_t size = 0;
  EXPECT_EQ(Tss2_Tcti_Receive(tcti_.get(), &size, nullptr, 0), TSS2_TCTI_RC_TRY_AGAIN);
  peer_.send(kResponse);
  EXPECT_EQ(Tss2_Tcti_Receive(tcti_.get(), &size, nullptr, TSS2_TCTI_TIMEOUT_BLOCK), TSS2_RC_SUCCESS);
  EXPECT_EQ(size, kResponse.size());
  EXPECT_EQ(tcti_.receive(0, size).second, kResponse);
}

TEST_F(LibraryTest, ASmallBufferKeepsTheResponse) {
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  peer_.send(kResponse);
  Bytes little(kResponse.size() - 1);
  std::size_t size = little.size();
  EXPECT_EQ(Tss2_Tcti_Receive(tcti_.get(), &size, little.data(), TSS2_TCTI_TIMEOUT_BLOCK),
            TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
  EXPECT_EQ(size, kResponse.size());
  EXPECT_EQ(tcti_.receive(0).second, kResponse);
}

TEST_F(LibraryTest, CallsOutOfOrderAreRefused) {
  EXPECT_EQ(tcti_.receive(0).first, TSS2_TCTI_RC_BAD_SEQUENCE);
  EXPECT_EQ(Tss2_Tcti_Cancel(tcti_.get()), TSS2_TCTI_RC_BAD_SEQUENCE);
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  EXPECT_EQ(tcti_.transmit(kCommand), TSS2_TCTI_RC_BAD_SEQUENCE);
  EXPECT_EQ(Tss2_Tcti_SetLocality(tcti_.get(), 1), TSS2_TCTI_RC_BAD_SEQUENCE);
  peer_.send(kResponse);
  EXPECT_EQ(tcti_.receive(-1).first, TSS2_RC_SUCCESS);
  EXPECT_EQ(tcti_.receive(-1).first, TSS2_TCTI_RC_BAD_SEQUENCE);
}

TEST_F(LibraryTest, BadValuesAreRefused) {
  EXPECT_EQ(tcti_.transmit({0x80, 0x01, 0, 0, 0, 13, 0, 0, 1, 0x7B, 0, 8}), TSS2_TCTI_RC_BAD_VALUE);
  EXPECT_EQ(tcti_.transmit({0x80, 0x01, 0, 0, 0, 5}), TSS2_TCTI_RC_BAD_VALUE);
  EXPECT_EQ(tcti_.transmit(encode(proto::Request(proto::StatusRequest{}))), TSS2_TCTI_RC_BAD_VALUE);
  EXPECT_EQ(Tss2_Tcti_Transmit(tcti_.get(), 10, nullptr), TSS2_TCTI_RC_BAD_REFERENCE);
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  Bytes room(100);
  EXPECT_EQ(Tss2_Tcti_Receive(tcti_.get(), nullptr, room.data(), 0), TSS2_TCTI_RC_BAD_REFERENCE);
  EXPECT_EQ(tcti_.receive(-2).first, TSS2_TCTI_RC_BAD_VALUE);
  read_first_command();
  EXPECT_FALSE(peer_.has_more());
}

TEST_F(LibraryTest, CancelIsSentAndItsReplySkipped) {
  peer_.send(kHelloReply);
  peer_.send(kShareReply);
  for (const bool reply_first : {true, false}) {
    ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
    EXPECT_EQ(Tss2_Tcti_Cancel(tcti_.get()), TSS2_RC_SUCCESS);
    if (reply_first) {
      peer_.send(kCancelReply);
      EXPECT_EQ(tcti_.receive(0).first, TSS2_TCTI_RC_TRY_AGAIN);
    }
    peer_.send(kResponse);
    EXPECT_EQ(tcti_.receive(-1).second, kResponse);
    if (!reply_first) peer_.send(kCancelReply);
  }
  peer_.send(kLocalityReply);
  EXPECT_EQ(Tss2_Tcti_SetLocality(tcti_.get(), 2), TSS2_RC_SUCCESS);
  const Bytes cancel = encode(proto::Request(proto::Cancel{}));
  read_first_command();
  for (const Bytes& expected : {cancel, kCommand, cancel, encode(proto::Request(proto::Locality{2}))})
    EXPECT_EQ(peer_.read(expected.size()), expected);
}

TEST_F(LibraryTest, ACancelThatComesTooLateIsNone) {
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  peer_.send(kResponse);
  std::size_t size = 0;
  EXPECT_EQ(Tss2_Tcti_Receive(tcti_.get(), &size, nullptr, -1), TSS2_RC_SUCCESS);
  EXPECT_EQ(Tss2_Tcti_Cancel(tcti_.get()), TSS2_RC_SUCCESS);
  EXPECT_EQ(tcti_.receive(0).second, kResponse);
  read_first_command();
  EXPECT_FALSE(peer_.has_more());
}

TEST_F(LibraryTest, ARefusedLocalityHasItsCode) {
  peer_.send(kHelloReply);
  const std::array<std::pair<std::uint32_t, TSS2_RC>, 4> rows = {{{0x000B0907, TSS2_TCTI_RC_NOT_SUPPORTED},
                                                                  {0x000B0084, TSS2_TCTI_RC_BAD_VALUE},
                                                                  {0x000B0143, TSS2_TCTI_RC_NOT_IMPLEMENTED},
                                                                  {0x000B0103, TSS2_TCTI_RC_NOT_PERMITTED}}};
  for (const auto& [code, expected] : rows) {
    peer_.send(encode(proto::Reply(proto::Refusal{3, code})));
    EXPECT_EQ(Tss2_Tcti_SetLocality(tcti_.get(), 9), expected);
  }
}

TEST_F(LibraryTest, PollHandles) {
  std::size_t count = 0;
  EXPECT_EQ(Tss2_Tcti_GetPollHandles(tcti_.get(), nullptr, &count), TSS2_RC_SUCCESS);
  EXPECT_EQ(count, 1U);
  TSS2_TCTI_POLL_HANDLE handle{};
  count = 0;
  EXPECT_EQ(Tss2_Tcti_GetPollHandles(tcti_.get(), &handle, &count), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
  EXPECT_EQ(Tss2_Tcti_GetPollHandles(tcti_.get(), &handle, &count), TSS2_RC_SUCCESS);
  EXPECT_EQ(Tss2_Tcti_GetPollHandles(tcti_.get(), &handle, nullptr), TSS2_TCTI_RC_BAD_REFERENCE);
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  EXPECT_EQ(poll(&handle, 1, 0), 0);
  peer_.send(kResponse);
  EXPECT_EQ(poll(&handle, 1, 60'000), 1);
  EXPECT_EQ(tcti_.receive(0).second, kResponse);
}

TEST_F(LibraryTest, MakeStickyIsNotImplemented) {
  TPM2_HANDLE handle = 0x80000000;
  EXPECT_EQ(Tss2_Tcti_MakeSticky(tcti_.get(), &handle, 1), TSS2_TCTI_RC_NOT_IMPLEMENTED);
}

TEST_F(LibraryTest, AManagerThatIsGoneIsAnIoError) {
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  peer_.read(12);
  peer_.hang_up();
  EXPECT_EQ(tcti_.receive(-1).first, TSS2_TCTI_RC_IO_ERROR);
  EXPECT_EQ(tcti_.transmit(kCommand), TSS2_TCTI_RC_IO_ERROR);
  EXPECT_EQ(Tss2_Tcti_SetLocality(tcti_.get(), 1), TSS2_TCTI_RC_IO_ERROR);
}

TEST_F(LibraryTest, OnlyItsOwnContexts) {
  const TSS2_TCTI_CONTEXT_COMMON_V2 good = tcti_.common();
  EXPECT_EQ(good.v1.transmit(nullptr, kCommand.size(), kCommand.data()), TSS2_TCTI_RC_BAD_REFERENCE);
  tcti_.common().v1.magic ^= 1;
  EXPECT_EQ(tcti_.transmit(kCommand), TSS2_TCTI_RC_BAD_CONTEXT);
  EXPECT_EQ(tcti_.receive(0).first, TSS2_TCTI_RC_BAD_CONTEXT);
  EXPECT_EQ(Tss2_Tcti_Cancel(tcti_.get()), TSS2_TCTI_RC_BAD_CONTEXT);
  tcti_.common() = good;
  tcti_.common().v1.version = 7;
  EXPECT_EQ(tcti_.transmit(kCommand), TSS2_TCTI_RC_BAD_CONTEXT);
  tcti_.common() = good;
  EXPECT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
}

TEST_F(LibraryTest, FinalizeClosesAndTwiceDoesNoHarm) {
  const auto finalize = tcti_.common().v1.finalize;
  const auto transmit = tcti_.common().v1.transmit;
  tcti_.finalize();
  EXPECT_TRUE(peer_.closed());
  finalize(tcti_.get());
  finalize(nullptr);
  EXPECT_EQ(transmit(tcti_.get(), kCommand.size(), kCommand.data()), TSS2_TCTI_RC_BAD_CONTEXT);
}

TEST_F(LibraryTest, OneThreadSendsAndAnotherReceives) {
  std::thread([&] { EXPECT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS); }).join();
  peer_.send(kResponse);
  std::thread([&] { EXPECT_EQ(tcti_.receive(-1).second, kResponse); }).join();
}

// Whose response it is could not be told.
TEST_F(LibraryTest, TwoThreadsInOneContextAreNotServedAtOnce) {
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  std::atomic<bool> waits = false;
  std::thread first([&] {
    waits = true;
    auto received = tcti_.receive(-1);
    while (received.first == TSS2_TCTI_RC_BAD_SEQUENCE) received = tcti_.receive(-1);  // the other one was there first
    EXPECT_EQ(received.second, kResponse);
  });
  while (!waits) std::this_thread::yield();
  while (tcti_.receive(0).first == TSS2_TCTI_RC_TRY_AGAIN) std::this_thread::yield();
  EXPECT_EQ(tcti_.receive(0).first, TSS2_TCTI_RC_BAD_SEQUENCE);
  EXPECT_EQ(tcti_.transmit(kCommand), TSS2_TCTI_RC_BAD_SEQUENCE);
  peer_.send(kResponse);
  first.join();
}

TEST_F(LibraryTest, ContextsAreIndependent) {
  const Context other("path=" + dir_.path("s"));
  Peer other_peer = service_.accept();
  ASSERT_EQ(tcti_.transmit(kCommand), TSS2_RC_SUCCESS);
  ASSERT_EQ(other.transmit(kCommand), TSS2_RC_SUCCESS);
  other_peer.send(kResponse);
  EXPECT_EQ(other.receive(-1).second, kResponse);
  EXPECT_EQ(tcti_.receive(0).first, TSS2_TCTI_RC_TRY_AGAIN);
}

}  // namespace
}  // namespace tpmspace::tcti
