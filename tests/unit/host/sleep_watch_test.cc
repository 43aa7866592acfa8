#include "host/sleep_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>

namespace tpmspace::host {
namespace {

// Our own system bus, with the part of systemd-logind that we use.
class SleepWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    // NOLINTNEXTLINE(cert-env33-c): a command of this test
    if (std::system("command -v dbus-daemon > /dev/null") != 0) GTEST_SKIP() << "dbus-daemon is not installed";
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    daemon_ = ::fork();
    if (daemon_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address", nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    std::string address;
    for (char c = 0; ::read(ends[0], &c, 1) == 1 && c != '\n';) address.push_back(c);
    ::close(ends[0]);
    ASSERT_FALSE(address.empty());
    ::setenv("DBUS_SYSTEM_BUS_ADDRESS", address.c_str(), 1);
  }
  void TearDown() override {
    watch_.reset();
    if (logind_ != nullptr) sd_bus_close_unref(logind_);
    ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    if (daemon_ > 0) {
      ::kill(daemon_, SIGTERM);
      ::waitpid(daemon_, nullptr, 0);
    }
  }

  void start_logind() {
    ASSERT_GE(sd_bus_open_system(&logind_), 0);
    ASSERT_GE(sd_bus_request_name(logind_, "org.freedesktop.login1", 0), 0);
    const auto on_call = [](sd_bus_message* message, void* data, sd_bus_error*) {
      if (sd_bus_message_is_method_call(message, "org.freedesktop.login1.Manager", "Inhibit") <= 0) return 0;
      static_cast<SleepWatchTest*>(data)->give_lock(message);
      return 1;
    };
    ASSERT_GE(sd_bus_add_filter(logind_, nullptr, on_call, this), 0);
    loop_.attach(logind_);
  }
  void give_lock(sd_bus_message* call) {
    ++locks_;
    if (locks_ == 2) {
      loop_.stop(0);
      return;
    }
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    held_ = base::Fd(ends[0]);
    held_watch_ = loop_.watch(held_.get(), EPOLLIN, [this](std::uint32_t) {
      held_watch_->stop();
      events_ += "released ";
      say_prepare_for_sleep(false);
    });
    ASSERT_GE(sd_bus_reply_method_return(call, "h", ends[1]), 0);
    ::close(ends[1]);
    say_prepare_for_sleep(true);
  }
  void say_prepare_for_sleep(bool begins) {
    sd_bus_emit_signal(logind_, "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "PrepareForSleep", "b",
                       begins ? 1 : 0);
  }

  log::Log log_{log::LogLevel::kError};
  loop::EventLoop loop_;
  pid_t daemon_ = -1;
  sd_bus* logind_ = nullptr;
  int locks_ = 0;
  base::Fd held_;
  std::optional<loop::Watch> held_watch_;
  std::string events_;
  std::optional<SleepWatch> watch_;
};

TEST_F(SleepWatchTest, TheMachineWaitsUntilItMaySleepAndIsAskedToWaitAgainWhenItIsAwake) {
  start_logind();
  watch_.emplace(loop_, log_,
                 SleepWatch::Callbacks{.falls_asleep =
                                           [this] {
                                             events_ += "sleep ";
                                             watch_->may_sleep();
                                           },
                                       .wakes_up = [this] { events_ += "wake "; }});
  EXPECT_EQ(loop_.run(), 0);
  EXPECT_EQ(events_, "sleep released wake ");
  EXPECT_EQ(locks_, 2);
}

TEST_F(SleepWatchTest, TheMachineDoesNotWaitWhenTheBusIsGone) {
  start_logind();
  watch_.emplace(loop_, log_,
                 SleepWatch::Callbacks{.falls_asleep =
                                           [this] {
                                             events_ += "sleep ";
                                             held_watch_->stop();
                                             held_watch_ = loop_.watch(held_.get(), EPOLLIN, [this](std::uint32_t) {
                                               events_ += "released";
                                               loop_.stop(0);
                                             });
                                             ::kill(daemon_, SIGTERM);
                                           },
                                       .wakes_up = [] {}});
  EXPECT_EQ(loop_.run(), 0);
  EXPECT_EQ(events_, "sleep released");
}

TEST_F(SleepWatchTest, WithoutLogindNothingHappens) {
  watch_.emplace(loop_, log_,
                 SleepWatch::Callbacks{.falls_asleep = [] { ADD_FAILURE(); }, .wakes_up = [] { ADD_FAILURE(); }});
  loop::Timer enough = loop_.timer([this] { loop_.stop(0); });
  enough.arm(std::chrono::milliseconds(50));
  EXPECT_EQ(loop_.run(), 0);
}

TEST_F(SleepWatchTest, WithoutABusNothingHappens) {
  ::setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
  watch_.emplace(loop_, log_,
                 SleepWatch::Callbacks{.falls_asleep = [] { ADD_FAILURE(); }, .wakes_up = [] { ADD_FAILURE(); }});
  loop::Timer enough = loop_.timer([this] { loop_.stop(0); });
  enough.arm(std::chrono::milliseconds(50));
  EXPECT_EQ(loop_.run(), 0);
}

}  // namespace
}  // namespace tpmspace::host
