// TPMs that are missing at the start, later, or for ever, and the fate of their clients.
#include "host/chips.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>

#include "base/fd.h"
#include "wire/response.h"

namespace tpmspace::host {
namespace {

using namespace std::chrono_literals;
constexpr wire::Rc kFailure = wire::from_manager(wire::rc::kFailure);

const wire::Bytes kGetRandom = wire::Writer().u16(wire::kTagNoSessions).u32(12).u32(wire::cc::kGetRandom).u16(8).take();

// A TPM as the test directs it, while threads open and use it.
struct FakeChip {
  mutable std::mutex mutex;
  std::condition_variable_any changed;
  bool there = true;
  bool held = false;       // commands are not answered
  bool slow_open = false;  // nor is the opener
  int there_after = 0;     // openings that fail
  int openings = 0, running = 0;
  std::uint32_t max_command = 4096;
  bool can_be_suspended = false;

  template <typename Change>
  void set(Change change) {
    const std::lock_guard lock(mutex);
    change(*this);
    changed.notify_all();
  }
  template <typename Condition>
  void wait_for(Condition condition) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return condition(*this); });
  }
};

class FakeTpm final : public tpm::BackEnd {
 public:
  explicit FakeTpm(FakeChip& chip) : chip_(chip) {}

  Answer transact(wire::ByteView, std::uint8_t) override {
    std::unique_lock lock(chip_.mutex);
    ++chip_.running;
    chip_.changed.notify_all();
    chip_.changed.wait(lock, [&] { return !chip_.held || hung_up_; });
    --chip_.running;
    if (!chip_.there || hung_up_) return tl::unexpected(Error{Error::Kind::kGone, "it is gone"});
    return wire::success_response(wire::Bytes{0, 2, 7, 7});
  }
  void hang_up() override {
    chip_.set([&](auto&) { hung_up_ = true; });
  }

 private:
  FakeChip& chip_;
  bool hung_up_ = false;  // guarded by the chip's mutex
};

TpmSource source_of(FakeChip& chip) {
  TpmSource out;
  out.open = [&chip](const Opening& opening) -> tl::expected<std::unique_ptr<tpm::BackEnd>, std::string> {
    std::unique_lock lock(chip.mutex);
    ++chip.openings;
    chip.changed.notify_all();
    if (chip.slow_open) chip.changed.wait(lock, opening.given_up, [&] { return !chip.slow_open; });
    if (!chip.there || chip.openings <= chip.there_after || opening.given_up.stop_requested())
      return tl::unexpected(std::string("it is not there"));
    return std::make_unique<FakeTpm>(chip);
  };
  out.bring_up = [&chip](wire::Tpm&, const Opening&) -> tl::expected<ChipReport, std::string> {
    const std::lock_guard lock(chip.mutex);
    ChipReport report;
    report.table = wire::CommandTable::builtin();
    report.chip.max_command = chip.max_command;
    report.chip.can_be_suspended = chip.can_be_suspended;
    return report;
  };
  out.name = "fake";
  return out;
}

void make_socket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const base::Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(fd.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address), 0);
}

class ChipsTest : public testing::Test {
 protected:
  void start(bool with_other) {
    std::vector<Chips::Source> sources;
    sources.push_back({guard::Chip{.name = "main", .tpm = "fake"}, source_of(main_)});
    sources[0].tpm.can_return = can_return_;
    if (with_other) sources.push_back({guard::Chip{.name = "other", .tpm = "other"}, source_of(other_)});
    if (with_other) sources[1].tpm.socket = other_socket_;
    Chips::Callbacks callbacks{
        .open = [this] { on_open_(); },
        .main_failed = [this] { main_failed_ = true; },
        .over = [this] { loop_.stop(0); },
        .away = [this] { on_away_(); },
        .changed = [this] { on_changed_(); },
        .replaced = [this](std::size_t chip) { on_replaced_(chip); },
        .answered = [this](ClientId client, wire::ByteView response) { on_answer_(client, code_of(response)); },
        .order_done = [this](ClientId,
                             const auto& sessions) { order_codes_.push_back(sessions ? 0 : sessions.error()); },
        .listed = [](std::size_t, ClientId, const auto&) {},
        .accounted = [](std::size_t, const auto&) {}};
    chips_.emplace(loop_, log_, std::move(sources), TpmHost::Terms{.engine = {}, .queue = 10, .retry = retry_},
                   std::move(callbacks));
  }
  // Until `over`.
  void run() { EXPECT_EQ(loop_.run(), 0); }
  TpmHost& host() { return chips_->host(0); }
  std::optional<wire::Rc> submit(ClientId client) {
    auto command = wire::Command::parse(kGetRandom, host().table(), host().chip().chip.max_command);
    return host().submit(client, {.owner = {client}, .part = {}}, {}, std::move(*command), 0, 0);
  }
  static wire::Rc code_of(wire::ByteView response) { return wire::read_header(response)->code; }

  log::Log log_{log::LogLevel::kError};
  loop::EventLoop loop_;
  FakeChip main_, other_;
  bool can_return_ = true;
  RetryPace::Limits retry_ = {1ms, 4ms};
  std::string other_socket_;
  bool main_failed_ = false;
  std::vector<wire::Rc> order_codes_;
  std::function<void()> on_open_ = [] {}, on_changed_ = [] {}, on_away_ = [] { ADD_FAILURE(); };
  std::function<void(std::size_t)> on_replaced_ = [](std::size_t) { ADD_FAILURE(); };
  std::function<void(ClientId, wire::Rc)> on_answer_ = [](ClientId, wire::Rc) { ADD_FAILURE(); };
  std::optional<Chips> chips_;
};

// Its next try would come in an hour.
TEST_F(ChipsTest, ATpmWhoseSocketAppearsIsTriedAtOnce) {
  std::string directory = (std::filesystem::temp_directory_path() / "tpmspace-chips-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/swtpm/made/later";
  retry_ = {1h, 1h};
  other_.there_after = 1;
  other_socket_ = path;
  on_open_ = [&] {
    EXPECT_FALSE(chips_->serves(1));
    std::filesystem::create_directories(directory + "/swtpm/made");
    make_socket(path);
  };
  on_changed_ = [&] {
    if (chips_->serves(1)) chips_->stop();
  };
  start(true);
  run();
  EXPECT_EQ(other_.openings, 2);
  std::filesystem::remove_all(directory);
}

TEST_F(ChipsTest, OneThatIsNotThereIsTriedAgainUntilItIs) {
  other_.there_after = 3;
  bool opened = false;
  on_open_ = [&] {
    opened = true;
    EXPECT_FALSE(chips_->serves(1));
    EXPECT_EQ(chips_->names_of_lost(","), "other");
  };
  on_changed_ = [&] {
    if (!chips_->serves(1)) return;
    EXPECT_EQ(chips_->names_of_lost(","), "");
    chips_->stop();
  };
  start(true);
  run();
  EXPECT_TRUE(opened);
  EXPECT_EQ(other_.openings, 4);
  EXPECT_EQ(main_.openings, 1);
}

TEST_F(ChipsTest, TheMachineMaySleepWhenEachOneThatCouldLoseSomethingHasPutItAway) {
  main_.can_be_suspended = other_.can_be_suspended = true;
  int away = 0;
  on_away_ = [&] {
    ++away;
    chips_->wake_up();
    chips_->stop();
  };
  on_open_ = [&] { chips_->prepare_for_sleep(); };
  start(true);
  run();
  EXPECT_EQ(away, 1);
}

TEST_F(ChipsTest, TheMachineMaySleepAtOnceIfNothingCouldBeLost) {
  bool away = false;
  on_away_ = [&] { away = true; };
  on_open_ = [&] {
    chips_->prepare_for_sleep();
    EXPECT_TRUE(away);
    chips_->stop();
  };
  start(true);
  run();
}

TEST_F(ChipsTest, AMainOneThatIsNotThereAtTheStartIsTheEnd) {
  main_.there = false;
  start(true);
  run();
  EXPECT_TRUE(main_failed_);
  EXPECT_EQ(main_.openings, 1);
}

TEST_F(ChipsTest, AClientOfALostTpmIsAnsweredAndUsesTheNextTpm) {
  const wire::CommandTable* before = nullptr;
  std::map<ClientId, wire::Rc> answers;
  on_open_ = [&] {
    before = &host().table();
    main_.set([](auto& chip) { chip.held = true; });
    EXPECT_EQ(submit(1), std::nullopt);
    EXPECT_EQ(submit(2), std::nullopt);
    EXPECT_EQ(host().order(3, engine::AbandonedSessions{}), std::nullopt);
    main_.wait_for([](const auto& chip) { return chip.running == 1; });
    main_.set([](auto& chip) {
      chip.there = chip.held = false;
      chip.max_command = 2048;
    });
  };
  on_answer_ = [&](ClientId client, wire::Rc code) {
    answers[client] = code;
    EXPECT_EQ(submit(client), kFailure) << "it is not there";
    if (answers.size() < 2) return;
    EXPECT_EQ(chips_->names_of_lost(","), "main");
    proto::Status status;
    host().fill(status);
    EXPECT_TRUE(status.tpm_lost);
    EXPECT_EQ(host().order(3, engine::AbandonedSessions{}), kFailure);
    EXPECT_TRUE(host().set_limits(1, {}));
    main_.set([](auto& chip) { chip.there = true; });
  };
  on_replaced_ = [&](std::size_t chip) {
    EXPECT_EQ(chip, 0U);
    EXPECT_NE(&host().table(), before);
    EXPECT_NE(before->find(wire::cc::kGetRandom), nullptr) << "until now somebody uses it";
    EXPECT_EQ(host().chip().chip.max_command, 2048U);
  };
  on_changed_ = [&] {
    if (!chips_->names_of_lost(",").empty()) return;
    on_answer_ = [&](ClientId client, wire::Rc code) {
      EXPECT_EQ(code, wire::rc::kSuccess);
      answers.erase(client);
      if (answers.empty()) chips_->stop();
    };
    EXPECT_EQ(submit(1), std::nullopt);
    EXPECT_EQ(submit(2), std::nullopt);
  };
  start(false);
  run();
  EXPECT_TRUE(answers.empty());
  EXPECT_EQ(order_codes_.size(), 1U) << "done, if the thread was faster, or not";
  EXPECT_GE(main_.openings, 2);
}

TEST_F(ChipsTest, OneThatComesAndGoesIsServedEachTime) {
  int times = 0;
  on_open_ = [&] { EXPECT_EQ(submit(1), std::nullopt); };
  on_replaced_ = [](std::size_t) {};
  on_answer_ = [&](ClientId, wire::Rc code) {
    main_.set([&](auto& chip) { chip.there = code != wire::rc::kSuccess; });
    if (code != wire::rc::kSuccess) return;
    EXPECT_EQ(submit(1), std::nullopt);
  };
  on_changed_ = [&] {
    if (!chips_->names_of_lost(",").empty()) return;
    if (++times == 5) return chips_->stop();
    EXPECT_EQ(submit(1), std::nullopt);
  };
  start(false);
  run();
  EXPECT_EQ(times, 5);
}

TEST_F(ChipsTest, StoppingWaitsForNoneThatIsBeingOpened) {
  other_.slow_open = true;
  start(true);
  other_.wait_for([](const auto& chip) { return chip.openings == 1; });
  chips_->stop();
  run();
  EXPECT_EQ(other_.openings, 1);
}

TEST_F(ChipsTest, StoppingWaitsForNoneThatIsAbsent) {
  other_.there = false;
  on_open_ = [&] { chips_->stop(); };
  start(true);
  run();
}

TEST_F(ChipsTest, OneThatWasHandedOverIsNotOpenedAgain) {
  can_return_ = false;
  on_open_ = [&] {
    main_.set([](auto& chip) { chip.there = false; });
    EXPECT_EQ(submit(1), std::nullopt);
  };
  on_answer_ = [&](ClientId client, wire::Rc code) {
    EXPECT_EQ(code, kFailure);
    host().close(client);
  };
  on_changed_ = [&] { main_.set([](auto& chip) { chip.there = true; }); };
  start(false);
  loop::Timer later = loop_.timer([&] { chips_->stop(); });
  later.arm(20ms);  // many times the necessary time
  run();
  EXPECT_EQ(main_.openings, 1);
  EXPECT_EQ(chips_->names_of_lost(","), "main");
}

}  // namespace
}  // namespace tpmspace::host
