// The swtpm back end against a real swtpm, started by the test and stopped by its process id.
#include "tpm/swtpm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <sstream>
#include <stop_token>
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
    argv.reserve(words.size() + 1);
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
  // swtpm has locality 0, so the wait is for the response; locality 1 waits on the control channel.
  for (const std::uint8_t locality : {std::uint8_t{0}, std::uint8_t{1}}) {
    const auto tpm = connect();
    ASSERT_TRUE(tpm);
    (void)tpm->transact(startup(), 0);
    process_->signal(SIGSTOP);
    Answer answer;
    std::thread waiting([&] { answer = tpm->transact(get_random(), locality); });
    tpm->hang_up();
    waiting.join();
    process_->signal(SIGCONT);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::kGone) << answer.error().what;
  }
}

base::Fd listen_at(const std::string& path) {
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(fd.get(), static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof address) != 0 ||
      ::listen(fd.get(), 1) != 0)
    std::abort();
  return fd;
}

TEST(SwtpmThatIsSilent, IsSaidToBeWaitedFor) {
  const TempDir temp;
  const SwtpmUnixSpec spec{temp / "s", temp / "s.ctrl"};
  const base::Fd data = listen_at(spec.path), control = listen_at(spec.control);
  std::vector<std::string> told;
  // It is told while the open waits; then the connection is dropped, so that the test need not.
  const News news{.waiting =
                      [&](const std::string& sentence) {
                        told.push_back(sentence);
                        const base::Fd dropped(::accept(control.get(), nullptr, nullptr));
                      },
                  .made = {}};
  EXPECT_FALSE(SwtpmTpm::open(spec, news));
  EXPECT_EQ(told, std::vector<std::string>{"waiting for swtpm's control channel at " + spec.control});
}

// A listener that accepts no more connections: its backlog is full.
class FullListener {
 public:
  FullListener(int family, const sockaddr* address, socklen_t size)
      : fd_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (::bind(fd_.get(), address, size) != 0 || ::listen(fd_.get(), 0) != 0) std::abort();
    address_size_ = sizeof address_;
    if (::getsockname(fd_.get(), this->address(), &address_size_) != 0) std::abort();
    // TCP takes a few more than it says; one that is not taken within a moment is not taken.
    for (bool taken = true; taken;) {
      waiting_.emplace_back(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      taken = ::connect(waiting_.back().get(), this->address(), address_size_) == 0;
      pollfd done{waiting_.back().get(), POLLOUT, 0};
      if (!taken && errno == EINPROGRESS) taken = ::poll(&done, 1, 100) > 0;
    }
  }
  [[nodiscard]] std::uint16_t port() const {
    sockaddr_in in = {};
    std::memcpy(&in, &address_, sizeof in);
    return ntohs(in.sin_port);
  }

 private:
  sockaddr* address() { return static_cast<sockaddr*>(static_cast<void*>(&address_)); }

  base::Fd fd_;
  sockaddr_storage address_ = {};
  socklen_t address_size_ = 0;
  std::vector<base::Fd> waiting_;
};

template <typename Spec>
void expect_left_when_given_up(const Spec& spec) {
  std::stop_source wanted;
  // Told from another thread, once the open waits.
  const News news{.waiting = [&](const std::string&) { wanted.request_stop(); }, .made = {}};
  const auto tpm = SwtpmTpm::open(spec, news, wanted.get_token());
  ASSERT_FALSE(tpm);
  EXPECT_TRUE(wanted.stop_requested());
  EXPECT_NE(tpm.error().find("this process"), std::string::npos) << tpm.error();
  std::stop_source never_wanted;
  never_wanted.request_stop();
  EXPECT_FALSE(SwtpmTpm::open(spec, {}, never_wanted.get_token()));
}

TEST(SwtpmThatIsSilent, IsLeftWhenItIsNoLongerWanted) {
  const TempDir temp;
  const SwtpmUnixSpec spec{temp / "s", temp / "s.ctrl"};
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  spec.path.copy(address.sun_path, sizeof address.sun_path - 1);
  const FullListener full(AF_UNIX, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof address);
  expect_left_when_given_up(spec);  // its data channel accepts no connection

  sockaddr_in local = {};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const FullListener full_tcp(AF_INET, static_cast<sockaddr*>(static_cast<void*>(&local)), sizeof local);
  expect_left_when_given_up(SwtpmTcpSpec{"127.0.0.1", full_tcp.port(), full_tcp.port()});

  const SwtpmUnixSpec mute{temp / "m", temp / "m.ctrl"};
  const base::Fd data = listen_at(mute.path), control = listen_at(mute.control);
  expect_left_when_given_up(mute);  // it takes us and says nothing
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
  const base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
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

// One thread's worth of swtpm: the commands received, in order, and responses that can be late. It cancels as swtpm
// could if it had more than one thread, and says "failed" to every cancel so that an answer taken for another one
// shows.
class FakeSwtpm {
 public:
  explicit FakeSwtpm(const SwtpmUnixSpec& spec)
      : data_listener_(listen_at(spec.path)), control_listener_(listen_at(spec.control)) {
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeSwtpm() {
    if (thread_.joinable()) thread_.join();  // ends with the connections
  }
  FakeSwtpm(const FakeSwtpm&) = delete;
  FakeSwtpm& operator=(const FakeSwtpm&) = delete;

  // For after the client has gone.
  [[nodiscard]] std::vector<std::string> told() {
    thread_.join();
    return told_;
  }

 private:
  static Bytes receive(const base::Fd& fd, std::size_t size) {
    Bytes data(size);
    const ssize_t got = ::recv(fd.get(), data.data(), size, MSG_WAITALL);
    return got == static_cast<ssize_t>(size) ? data : Bytes();
  }
  static void send(const base::Fd& fd, const Bytes& data) {
    (void)::send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL);
  }

  void serve() {
    data_ = base::Fd(::accept4(data_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    control_ = base::Fd(::accept4(control_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    for (bool open = true; open;) {
      std::array<pollfd, 2> ready{{{control_.get(), POLLIN, 0}, {data_.get(), POLLIN, 0}}};
      ::poll(ready.data(), ready.size(), -1);
      // Data first: a cancel never overtakes its command.
      if (ready[1].revents != 0) {
        open = serve_data();
      } else if (ready[0].revents != 0) {
        open = serve_control();
      }
    }
  }
  bool serve_control() {
    const Bytes code = receive(control_, 4);
    switch (code.empty() ? 0 : code[3]) {
      case 1:
        send(control_, {0, 0, 0, 0, 0, 0, 0, 0x7F});
        return true;
      case 4:  // running already
        send(control_, {0, 0, 0, 0, 0, 0, 0, 0});
        return true;
      case 5:
        told_.push_back("locality " + std::to_string(receive(control_, 1).at(0)));
        send(control_, {0, 0, 0, 0});
        return true;
      case 9:
        told_.push_back("cancel");
        return false;  // only ever expected inside a command
      default:
        return false;
    }
  }
  // A key generation goes on until it is canceled; anything else succeeds at once.
  bool serve_data() {
    const auto header = wire::read_header(receive(data_, wire::kHeaderSize));
    if (!header) return false;
    (void)receive(data_, header->size - wire::kHeaderSize);
    told_.push_back(header->code == cc::kCreatePrimary ? "keygen" : "command");
    if (header->code != cc::kCreatePrimary) {
      send(data_, wire::error_response(rc::kSuccess));
      return true;
    }
    if (receive(control_, 4) != Bytes{0, 0, 0, 9}) return false;
    told_.push_back("cancel");
    send(data_, wire::error_response(rc::kCanceled));
    send(control_, {0, 0, 0, 9});
    return true;
  }

  const base::Fd data_listener_, control_listener_;
  base::Fd data_, control_;
  std::vector<std::string> told_;  // of the thread, until it is joined
  std::thread thread_;
};

TEST(SwtpmControl, LocalityIsToldOnlyWhenItChanges) {
  const TempDir temp;
  const SwtpmUnixSpec spec{temp / "s", temp / "c"};
  FakeSwtpm fake(spec);
  {
    const auto tpm = SwtpmTpm::open(spec);
    ASSERT_TRUE(tpm) << tpm.error();
    for (const std::uint8_t locality : std::array<std::uint8_t, 5>{0, 0, 3, 3, 0})
      EXPECT_EQ(code_of((*tpm)->transact(get_random(), locality)), rc::kSuccess);
  }
  EXPECT_EQ(fake.told(), (std::vector<std::string>{"locality 0", "command", "command", "locality 3", "command",
                                                   "command", "locality 0", "command"}));
}

TEST(SwtpmControl, ACancelReachesARunningCommandOnceAndItsResponseIsForNoOther) {
  const TempDir temp;
  const SwtpmUnixSpec spec{temp / "s", temp / "c"};
  FakeSwtpm fake(spec);
  {
    const auto tpm = SwtpmTpm::open(spec);
    ASSERT_TRUE(tpm) << tpm.error();
    for (int i = 0; i < 3; ++i) {
      std::atomic<bool> done = false;
      std::thread canceller([&] {
        while (!done) {
          (*tpm)->cancel();
          std::this_thread::yield();
        }
      });
      EXPECT_EQ(code_of((*tpm)->transact(create_primary(rsa_template()), 0)), rc::kCanceled);
      done = true;
      canceller.join();
      // Asks for a locality: were the cancel's answer still there, it would look like a refusal.
      EXPECT_EQ(code_of((*tpm)->transact(get_random(), 1)), rc::kSuccess);
      EXPECT_EQ(code_of((*tpm)->transact(get_random(), 0)), rc::kSuccess);
    }
  }
  const std::vector<std::string> told = fake.told();
  EXPECT_EQ(std::count(told.begin(), told.end(), "cancel"), 3);
  EXPECT_EQ(std::count(told.begin(), told.end(), "command"), 6);
}

}  // namespace
}  // namespace tpmspace::tpm
