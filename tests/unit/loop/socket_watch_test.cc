// The notice that another program's socket has appeared. The loop's timers only end what would wait for ever.
#include "loop/socket_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace tpmspace::loop {
namespace {

using namespace std::chrono_literals;

class SocketWatchTest : public testing::Test {
 protected:
  static std::filesystem::path make_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "tpmspace-watch-XXXXXX").string();
    return ::mkdtemp(name.data());
  }
  ~SocketWatchTest() override { std::filesystem::remove_all(directory_); }

  void make_socket() {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    const base::Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_EQ(::bind(fd.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address), 0);
  }
  [[nodiscard]] std::string path() const { return directory_ / "a" / "b" / "socket"; }
  [[nodiscard]] std::filesystem::path home() const { return directory_ / "a" / "b"; }
  // The loop runs until it was told so often.
  void run_until(int times) {
    wanted_ = times;
    EXPECT_EQ(loop_.run(), 0);
  }

  std::filesystem::path directory_ = make_directory();
  EventLoop loop_;
  int told_ = 0, wanted_ = 0;
  std::function<void()> on_told_ = [] {};
  SocketWatch watch_{loop_, path(), [this] {
                       ++told_;
                       on_told_();
                       if (told_ == wanted_) loop_.stop(0);
                     }};
};

TEST_F(SocketWatchTest, TellsOfOneThatIsThereAlready) {
  std::filesystem::create_directories(home());
  make_socket();
  watch_.start();
  run_until(1);
}

TEST_F(SocketWatchTest, TellsOfASocketWhoseDirectoryIsMadeLater) {
  watch_.start();
  auto later = loop_.timer([&] {
    std::filesystem::create_directories(home());
    make_socket();
  });
  later.arm(1ms);
  run_until(1);
}

TEST_F(SocketWatchTest, TellsOfEachNewOneAndOfNothingElse) {
  std::filesystem::create_directories(home());
  make_socket();
  watch_.start();
  on_told_ = [&] {
    if (told_ != 1) return;
    std::ofstream(home() / "something else") << "x";
    std::filesystem::remove(path());
    std::ofstream(path()) << "no socket";
    std::filesystem::remove(path());
    make_socket();
  };
  run_until(2);
}

TEST_F(SocketWatchTest, TellsOfOneInADirectoryThatIsMadeAnew) {
  std::filesystem::create_directories(home());
  make_socket();
  watch_.start();
  on_told_ = [&] {
    if (told_ != 1) return;
    std::filesystem::remove_all(directory_ / "a");
    std::filesystem::create_directories(home());
    make_socket();
  };
  run_until(2);
}

TEST_F(SocketWatchTest, TellsNothingWhenItIsStopped) {
  std::filesystem::create_directories(home());
  watch_.start();
  watch_.stop();
  make_socket();
  auto later = loop_.timer([&] {
    EXPECT_EQ(told_, 0);
    watch_.start();
  });
  later.arm(5 * SocketWatch::kPause);
  run_until(1);
}

}  // namespace
}  // namespace tpmspace::loop
