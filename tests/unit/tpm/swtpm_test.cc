// The swtpm back end against a real swtpm, started by the test and stopped by its process id.
#include "tpm/swtpm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <sstream>
#include <thread>

#include "support.h"
#include "tpm/bring_up.h"
#include "tpm/open.h"

namespace tpmspace::tpm {
namespace {

using namespace test;

bool is_installed(const char* program) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');)
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

class SwtpmProcess {
 public:
  explicit SwtpmProcess(const std::vector<std::string>& arguments) {
    std::vector<std::string> words = {"swtpm", "socket", "--tpm2"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that crashes leaves nothing running
    ::execvp("swtpm", argv.data());
    ::_exit(127);
  }
  ~SwtpmProcess() { kill(); }
  SwtpmProcess(const SwtpmProcess&) = delete;
  SwtpmProcess& operator=(const SwtpmProcess&) = delete;

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void signal(int number) const { ::kill(pid_, number); }
  [[nodiscard]] bool lives() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }

 private:
  pid_t pid_ = -1;
};

class Swtpm : public testing::Test {
 protected:
  void SetUp() override {
    if (!is_installed("swtpm")) GTEST_SKIP() << "swtpm is not installed";
    std::filesystem::create_directory(temp_ / "state");
  }
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {
        "--tpmstate", "dir=" + (temp_ / "state"),          "--server", "type=unixio,path=" + spec_.path,
        "--ctrl",     "type=unixio,path=" + spec_.control, "--log",    "file=" + (temp_ / "log")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    process_.emplace(arguments);
  }
  // A process needs its time until it listens: asks again while it lives, and long enough for any machine.
  std::unique_ptr<SwtpmTpm> connect() {
    std::string why;
    for (int attempt = 0; attempt < 1000 && process_->lives(); ++attempt) {
      auto tpm = SwtpmTpm::open(spec_);
      if (tpm) return std::move(*tpm);
      why = tpm.error();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << why;
    return nullptr;
  }

  TempDir temp_;
  SwtpmUnixSpec spec_{temp_ / "s", temp_ / "s.ctrl"};
  std::optional<SwtpmProcess> process_;
};

TEST_F(Swtpm, IsSwitchedOnIfItIsNot) {
  start();
  const auto tpm = connect();
  ASSERT_TRUE(tpm);
  EXPECT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  EXPECT_EQ(code_of(tpm->transact(get_random(), 0)), rc::kSuccess);
}

TEST_F(Swtpm, IsNotResetIfItRunsAlready) {
  start({"--flags", "not-need-init,startup-clear"});
  const auto tpm = connect();
  ASSERT_TRUE(tpm);
  EXPECT_EQ(code_of(tpm->transact(get_random(), 0)), rc::kSuccess) << "a reset would want another Startup";
}

TEST_F(Swtpm, PowerCycleWantsAStartupAgain) {
  start();
  const auto tpm = connect();
  ASSERT_TRUE(tpm);
  ASSERT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  ASSERT_TRUE(tpm->power_cycle());
  EXPECT_EQ(code_of(tpm->transact(get_random(), 0)), rc::kInitialize);
  EXPECT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
}

TEST_F(Swtpm, TakesTheLocalityItIsTold) {
  start();
  const auto tpm = connect();
  ASSERT_TRUE(tpm);
  ASSERT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), 0)), rc::kLocality);
  EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), 2)), rc::kSuccess);
  EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), 0)), rc::kLocality);
  for (const std::uint8_t refused : {std::uint8_t{5}, std::uint8_t{32}}) {
    const auto answer = tpm->transact(get_random(), refused);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::kNotPossible) << answer.error().what;
  }
  EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), 0)), rc::kLocality) << "a refusal changes nothing";
}

TEST_F(Swtpm, CancelsAtAnyMomentNeitherBreakTheStreamNorHitLaterCommands) {
  start();
  const auto tpm = connect();
  ASSERT_TRUE(tpm);
  ASSERT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  std::atomic<bool> done = false;
  std::thread canceller([&] {
    while (!done) {
      tpm->cancel();
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 20; ++i) {
    const auto key = tpm->transact(create_primary(rsa_template()), 0);
    ASSERT_TRUE(key) << key.error().what;
    EXPECT_TRUE(code_of(key) == rc::kSuccess || code_of(key) == rc::kCanceled) << code_of(key);
    if (code_of(key) == rc::kSuccess) {
      EXPECT_EQ(code_of(tpm->transact(flush(handle_in(key)), 0)), rc::kSuccess);
    }
    EXPECT_EQ(code_of(tpm->transact(pcr_reset(20), static_cast<std::uint8_t>(i % 2 * 2))),
              i % 2 == 0 ? rc::kLocality : rc::kSuccess);
  }
  done = true;
  canceller.join();
  EXPECT_EQ(code_of(tpm->transact(create_primary(rsa_template()), 0)), rc::kSuccess);
}

TEST_F(Swtpm, ItsDeathIsAnErrorNotAHang) {
  start();
  const auto tpm = connect();
  ASSERT_TRUE(tpm);
  ASSERT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  process_->kill();
  for (const std::uint8_t locality : {std::uint8_t{0}, std::uint8_t{1}}) {
    const auto answer = tpm->transact(get_random(), locality);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::kGone) << answer.error().what;
  }
}

TEST_F(Swtpm, HangingUpFreesAThreadThatWaitsForAStoppedProcess) {
  start();
  const auto tpm = connect();
  ASSERT_TRUE(tpm);
  ASSERT_EQ(code_of(tpm->transact(startup(), 0)), rc::kSuccess);
  process_->signal(SIGSTOP);
  Answer answer;
  std::thread waiting([&] { answer = tpm->transact(get_random(), 0); });
  tpm->hang_up();
  waiting.join();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kGone) << answer.error().what;
}

TEST_F(Swtpm, OpenSaysHowToStartOneIfThereIsNone) {
  const auto tpm = SwtpmTpm::open(spec_);
  ASSERT_FALSE(tpm);
  EXPECT_NE(tpm.error().find("swtpm socket --tpm2"), std::string::npos) << tpm.error();
  const auto long_path = SwtpmTpm::open(SwtpmUnixSpec{std::string(200, 'x'), "c"});
  ASSERT_FALSE(long_path);
  EXPECT_NE(long_path.error().find("too long"), std::string::npos) << long_path.error();
}

TEST_F(Swtpm, IsBroughtUpThroughTheWholeChain) {
  start();
  ASSERT_TRUE(connect());
  const auto tpm = open_tpm({spec_, {}});
  ASSERT_TRUE(tpm) << tpm.error();
  const auto facts = bring_up(**tpm, Kind::kSwtpm);
  ASSERT_TRUE(facts) << facts.error();
  EXPECT_EQ(facts->object_slots, 3U);
  EXPECT_EQ(facts->active_sessions, 64U);
}

// A port that was free a moment ago.
std::uint16_t free_port() {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = static_cast<sockaddr*>(static_cast<void*>(&address));
  if (::bind(fd.get(), any, size) != 0 || ::getsockname(fd.get(), any, &size) != 0) return 0;
  return ntohs(address.sin_port);
}

TEST_F(Swtpm, SpeaksTcpToo) {
  const SwtpmTcpSpec spec{"127.0.0.1", free_port(), free_port()};
  process_.emplace(std::vector<std::string>{
      "--tpmstate", "dir=" + (temp_ / "state"), "--server", "type=tcp,port=" + std::to_string(spec.port), "--ctrl",
      "type=tcp,port=" + std::to_string(spec.control_port), "--log", "file=" + (temp_ / "log")});
  std::string why = "it died";
  for (int attempt = 0; attempt < 1000 && process_->lives(); ++attempt) {
    auto tpm = SwtpmTpm::open(spec);
    if (!tpm) {
      why = tpm.error();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    EXPECT_EQ(code_of((*tpm)->transact(startup(), 0)), rc::kSuccess);
    EXPECT_EQ(code_of((*tpm)->transact(pcr_reset(20), 2)), rc::kSuccess);
    return;
  }
  FAIL() << why;
}

}  // namespace
}  // namespace tpmspace::tpm
