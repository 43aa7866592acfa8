#include "tpm/embedded.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "support.h"

namespace tpmspace::tpm {
namespace {

using namespace test;

std::unique_ptr<EmbeddedTpm> must_open(const std::string& directory = "") {
  auto tpm = EmbeddedTpm::open(directory);
  EXPECT_TRUE(tpm) << tpm.error();
  return tpm ? std::move(*tpm) : nullptr;
}
std::unique_ptr<EmbeddedTpm> must_start(const std::string& directory = "") {
  auto tpm = must_open(directory);
  if (tpm) {
    EXPECT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  }
  return tpm;
}

constexpr std::uint32_t kIndex = 0x01000001;
Bytes define_index() {
  const Bytes area = wire::Writer().u32(kIndex).u16(0x000B).u32(0x00040004).u16(0).u16(8).take();  // owner, auth
  return authorised(cc::kNVDefineSpace, 0x40000001, wire::Writer().u16(0).tpm2b(area).bytes());
}
Bytes read_index_public() {
  return plain(cc::kNVReadPublic, wire::Writer().u32(kIndex).bytes());
}

struct Clock {
  std::uint32_t resets = 0, restarts = 0;
  bool safe = false;
};
Clock clock_of(EmbeddedTpm& tpm) {
  const Bytes body = body_of(tpm.transact(read_clock(), 0));
  wire::Reader reader(body);
  (void)reader.take(16);
  const auto resets = reader.u32(), restarts = reader.u32();
  const auto safe = reader.u8();
  EXPECT_TRUE(safe.has_value());
  return {resets.value_or(0), restarts.value_or(0), safe.value_or(0) != 0};
}

std::string file_in(const std::string& directory) {
  return directory + "/tpm2-permall.state";
}
std::string contents(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(Embedded, WantsAStartupAndThenAnswers) {
  const auto tpm = must_open();
  ASSERT_TRUE(tpm);
  EXPECT_EQ(code_of(tpm->transact(get_random(), 0)), rc::kInitialize);
  EXPECT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  const auto one = tpm->transact(get_random(16), 0), two = tpm->transact(get_random(16), 0);
  ASSERT_EQ(code_of(one), rc::kSuccess);
  EXPECT_EQ(one->size(), 10U + 2 + 16);
  EXPECT_NE(*one, *two);
}

TEST(Embedded, AnswersAnythingThatIsNoCommand) {
  const auto tpm = must_start();
  ASSERT_TRUE(tpm);
  for (const Bytes& odd : {Bytes{}, Bytes{0x80}, Bytes(9, 0), Bytes(5000, 0x80)}) {
    const auto answer = tpm->transact(odd, 0);
    ASSERT_TRUE(answer) << odd.size();
    EXPECT_NE(code_of(answer), rc::kSuccess) << odd.size();
  }
  EXPECT_EQ(code_of(tpm->transact(get_random(), 0)), rc::kSuccess);
}

TEST(Embedded, ThereIsOneInAProcessAtATime) {
  {
    const auto tpm = must_open();
    const auto second = EmbeddedTpm::open("");
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().find("already"), std::string::npos) << second.error();
  }
  EXPECT_TRUE(EmbeddedTpm::open("")) << "the first one is gone";
}

TEST(Embedded, StateLivesInItsDirectoryAndNowhereElse) {
  const TempDir temp;
  {
    const auto tpm = must_start(temp / "one");
    ASSERT_TRUE(tpm);
    EXPECT_EQ(code_of(tpm->transact(define_index(), 0)), rc::kSuccess);
  }
  EXPECT_EQ(code_of(must_start(temp / "one")->transact(read_index_public(), 0)), rc::kSuccess);
  EXPECT_NE(code_of(must_start(temp / "two")->transact(read_index_public(), 0)), rc::kSuccess);
  EXPECT_NE(code_of(must_start()->transact(read_index_public(), 0)), rc::kSuccess);
  struct stat status = {};
  ASSERT_EQ(::stat((temp / "one").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  ASSERT_EQ(::stat(file_in(temp / "one").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST(Embedded, ADirectoryThatIsInUseIsRefused) {
  const TempDir temp;
  const auto held = directory_store(temp / "d");  // flock is by open file, so this stands for another process
  ASSERT_TRUE(held) << held.error();
  const auto tpm = EmbeddedTpm::open(temp / "d");
  ASSERT_FALSE(tpm);
  EXPECT_NE(tpm.error().find("in use by another process"), std::string::npos) << tpm.error();
  EXPECT_TRUE(EmbeddedTpm::open("")) << "a refusal must not keep libtpms taken";
}

TEST(Embedded, ADirectoryThatOthersCanReadIsRefused) {
  const TempDir temp;
  const std::string directory = temp / "d";
  ASSERT_EQ(::mkdir(directory.c_str(), 0700), 0);
  for (const mode_t mode : {0750U, 0701U, 0777U}) {
    ASSERT_EQ(::chmod(directory.c_str(), mode), 0);
    const auto tpm = EmbeddedTpm::open(directory);
    ASSERT_FALSE(tpm);
    EXPECT_NE(tpm.error().find("chmod 700"), std::string::npos) << tpm.error();
  }
  ASSERT_EQ(::chmod(directory.c_str(), 0700), 0);
  EXPECT_TRUE(EmbeddedTpm::open(directory));
}

TEST(Embedded, AnotherUsersDirectoryIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  const TempDir temp;
  const std::string directory = temp / "d";
  ASSERT_EQ(::mkdir(directory.c_str(), 0700), 0);
  ASSERT_EQ(::chown(directory.c_str(), 12345, 12345), 0);
  const auto tpm = EmbeddedTpm::open(directory);
  ASSERT_FALSE(tpm);
  EXPECT_NE(tpm.error().find("12345"), std::string::npos) << tpm.error();
}

TEST(Embedded, APlaceThatCannotBeADirectoryIsRefused) {
  const TempDir temp;
  std::ofstream(temp / "file") << "x";
  EXPECT_FALSE(EmbeddedTpm::open(temp / "file"));
  EXPECT_FALSE(EmbeddedTpm::open(temp / "file/under"));
}

TEST(Embedded, OnlyTheDirectoryItselfIsMade) {
  const TempDir temp;
  for (const char* end : {"", "/"}) {
    const auto tpm = EmbeddedTpm::open(temp / "none/d" + end);
    ASSERT_FALSE(tpm);
    EXPECT_NE(tpm.error().find("there is no " + (temp / "none") + ": make that"), std::string::npos) << tpm.error();
  }
  EXPECT_FALSE(std::filesystem::exists(temp / "none"));
}

TEST(Embedded, ANewTpmIsToldAndAnOldOneIsNot) {
  const TempDir temp;
  std::vector<std::string> told;
  const News news{.waiting = {}, .made = [&](const std::string& sentence) { told.push_back(sentence); }};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(EmbeddedTpm::open(temp / "d", news));
  ASSERT_TRUE(EmbeddedTpm::open("", news));
  EXPECT_EQ(told, std::vector<std::string>{"a new TPM is made in " + (temp / "d")});
}

TEST(Embedded, DamagedStateIsRefusedAndLeftAsItIs) {
  const TempDir temp;
  const std::string directory = temp / "d";
  must_start(directory).reset();
  const std::string whole = contents(file_in(directory));
  ASSERT_GT(whole.size(), 1000U);
  for (const std::string& damaged : {whole.substr(0, whole.size() / 2), std::string("nonsense"), std::string()}) {
    std::ofstream(file_in(directory), std::ios::binary | std::ios::trunc) << damaged;
    const auto tpm = EmbeddedTpm::open(directory);
    EXPECT_FALSE(tpm) << damaged.size();
    EXPECT_EQ(contents(file_in(directory)), damaged);
  }
  std::ofstream(file_in(directory), std::ios::binary | std::ios::trunc) << whole;
  EXPECT_TRUE(must_start(directory));
}

TEST(Embedded, AWriteThatWasInterruptedDoesNoHarm) {
  const TempDir temp;
  const std::string directory = temp / "d";
  must_start(directory).reset();
  std::ofstream(file_in(directory) + ".new", std::ios::binary) << "half of a st";
  const auto tpm = must_start(directory);
  ASSERT_TRUE(tpm);
  EXPECT_EQ(code_of(tpm->transact(define_index(), 0)), rc::kSuccess);
  EXPECT_FALSE(std::filesystem::exists(file_in(directory) + ".new"));
}

TEST(Embedded, StateThatCannotBeWrittenPutsTheTpmInFailureModeAndSaysWhy) {
  const TempDir temp;
  const std::string directory = temp / "d";
  const auto tpm = must_start(directory);
  ASSERT_TRUE(tpm);
  EXPECT_EQ(tpm->storage_error(), "");
  // A directory in the place of the temporary file: not even root can write that.
  ASSERT_EQ(::mkdir((file_in(directory) + ".new").c_str(), 0700), 0);
  (void)tpm->transact(define_index(), 0);
  EXPECT_EQ(code_of(tpm->transact(get_random(), 0)), rc::kFailure);
  EXPECT_NE(tpm->storage_error().find(".new"), std::string::npos) << tpm->storage_error();
}

TEST(Embedded, PowerLossForgetsTransientStateAndKeepsTheRest) {
  const auto tpm = must_start();
  ASSERT_TRUE(tpm);
  ASSERT_EQ(code_of(tpm->transact(define_index(), 0)), rc::kSuccess);
  ASSERT_EQ(code_of(tpm->transact(create_primary(ecc_template()), 0)), rc::kSuccess);
  const Clock before = clock_of(*tpm);
  ASSERT_TRUE(tpm->power_cycle());
  EXPECT_EQ(code_of(tpm->transact(get_random(), 0)), rc::kInitialize);
  ASSERT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  EXPECT_EQ(code_of(tpm->transact(flush(0x80000000), 0)), rc::in_parameter(rc::kHandle, 1));
  EXPECT_EQ(code_of(tpm->transact(read_index_public(), 0)), rc::kSuccess);
  EXPECT_EQ(clock_of(*tpm).resets, before.resets + 1);
}

TEST(Embedded, ResumeKeepsSavedSessionsAndResetDoesNot) {
  for (const bool resume : {true, false}) {
    const auto tpm = must_start();
    ASSERT_TRUE(tpm);
    const auto session = tpm->transact(start_session(), 0);
    ASSERT_EQ(code_of(session), rc::kSuccess);
    const auto saved = tpm->transact(context_save(handle_in(session)), 0);
    ASSERT_EQ(code_of(saved), rc::kSuccess);
    if (resume) {
      ASSERT_EQ(code_of(tpm->transact(shutdown(1), 0)), rc::kSuccess);
    }
    ASSERT_TRUE(tpm->power_cycle());
    ASSERT_EQ(code_of(tpm->transact(startup(resume ? 1 : 0), 0)), rc::kSuccess);
    EXPECT_EQ(code_of(tpm->transact(context_load(body_of(saved)), 0)) == rc::kSuccess, resume);
  }
}

TEST(Embedded, AStopInOrderIsSeenByTheTpmAsOne) {
  const TempDir temp;
  const std::string directory = temp / "d";
  {
    const auto tpm = must_start(directory);
    ASSERT_TRUE(tpm);
    ASSERT_EQ(code_of(tpm->transact(define_index(), 0)), rc::kSuccess);
  }
  const auto tpm = must_start(directory);
  ASSERT_TRUE(tpm);
  EXPECT_TRUE(clock_of(*tpm).safe);
  ASSERT_TRUE(tpm->power_cycle());
  ASSERT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  EXPECT_FALSE(clock_of(*tpm).safe) << "power loss must stay distinguishable";
}

TEST(Embedded, AStopAfterShutdownStateCanStillBeResumed) {
  const TempDir temp;
  const std::string directory = temp / "d";
  {
    const auto tpm = must_start(directory);
    ASSERT_TRUE(tpm);
    ASSERT_EQ(code_of(tpm->transact(shutdown(1), 0)), rc::kSuccess);
  }
  const auto tpm = must_open(directory);
  ASSERT_TRUE(tpm);
  EXPECT_EQ(code_of(tpm->transact(startup(1), 0)), rc::kSuccess);
}

TEST(Embedded, RunsInTheLocalityItIsTold) {
  const auto tpm = must_start();
  ASSERT_TRUE(tpm);
  // PCR 20 may be reset in the localities of a dynamic launch only.
  EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), 0)), rc::kLocality);
  EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), 2)), rc::kSuccess);
  EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), 0)), rc::kLocality);
  EXPECT_EQ(code_of(tpm->transact(get_random(), 32)), rc::kSuccess);
  for (const std::uint8_t none : {std::uint8_t{5}, std::uint8_t{31}}) {
    const auto answer = tpm->transact(get_random(), none);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::kNotPossible);
  }
}

TEST(Embedded, ACancelFromAnotherThreadStopsAKeyGeneration) {
  const auto tpm = must_start();
  ASSERT_TRUE(tpm);
  std::atomic<bool> done = false;
  std::thread canceller([&] {
    while (!done) {
      tpm->cancel();
      std::this_thread::yield();
    }
  });
  // Any one attempt may be faster than the other thread gets its turn.
  bool canceled = false;
  for (int attempt = 0; attempt < 200 && !canceled; ++attempt) {
    const auto answer = tpm->transact(create_primary(rsa_template()), 0);
    canceled = code_of(answer) == rc::kCanceled;
    if (code_of(answer) == rc::kSuccess) (void)tpm->transact(flush(handle_in(answer)), 0);
  }
  done = true;
  canceller.join();
  EXPECT_TRUE(canceled);
  EXPECT_EQ(code_of(tpm->transact(create_primary(rsa_template()), 0)), rc::kSuccess) << "not the next command";
}

TEST(Embedded, ACancelWhileNothingRunsIsForgotten) {
  const auto tpm = must_start();
  ASSERT_TRUE(tpm);
  tpm->cancel();
  EXPECT_EQ(code_of(tpm->transact(create_primary(rsa_template()), 0)), rc::kSuccess);
}

// libtpms 0.9 answers FAILURE without a failure: the objects of others stay in the TPM.
TEST(Embedded, AnInvalidCiphertextDoesNotResetTheTpm) {
  const auto tpm = must_start();
  ASSERT_TRUE(tpm);
  const auto victim = handle_in(tpm->transact(create_primary(ecc_template()), 0));
  const Bytes decrypts = wire::Writer()
                             .u16(0x0001)
                             .u16(0x000B)
                             .u32(0x00020072)  // decrypt, userWithAuth, sensitiveDataOrigin, fixedParent, fixedTPM
                             .u16(0)
                             .u16(0x0010)
                             .u16(0x0010)
                             .u16(1024)
                             .u32(0)
                             .u16(0)
                             .take();
  const auto key = handle_in(tpm->transact(create_primary(decrypts), 0));
  const Bytes nonsense = wire::Writer().tpm2b(Bytes(128, 5)).u16(0x0017).u16(0x000B).u16(0).take();  // OAEP, SHA-256
  EXPECT_NE(code_of(tpm->transact(authorised(cc::kRSADecrypt, key, nonsense), 0)), rc::kSuccess);
  EXPECT_EQ(code_of(tpm->transact(plain(cc::kReadPublic, wire::Writer().u32(victim).bytes()), 0)), rc::kSuccess);
}

TEST(Embedded, PrintsNothing) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const TempDir temp;
  must_start(temp / "d").reset();
  std::ofstream(file_in(temp / "d"), std::ios::binary | std::ios::trunc) << "nonsense";
  EXPECT_FALSE(EmbeddedTpm::open(temp / "d"));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace tpmspace::tpm
