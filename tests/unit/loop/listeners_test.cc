// The listeners when the configuration is read again.
#include "loop/listeners.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

namespace tpmspace::loop {
namespace {

class ListenersTest : public testing::Test {
 protected:
  ListenersTest() {
    char name[] = "/tmp/listenersXXXXXX";
    directory_ = ::mkdtemp(name);
    auto main = ListeningSocket::claim({.path = path("main"), .mode = 0600});
    listeners_.emplace(
        loop_, log_, std::move(*main),
        [this](const base::Fd&, const guard::Entrance& entrance, const Listeners::Occupancy&) {
          came_in_.push_back(entrance.listener + "/" + entrance.profile);
          if (came_in_.size() == expected_) loop_.stop(0);
        },
        [] { return true; });
    EXPECT_TRUE(listeners_->open());
  }
  ~ListenersTest() override {
    listeners_.reset();
    std::filesystem::remove_all(directory_);
  }

  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }
  [[nodiscard]] guard::Listener listener(const std::string& name, const std::string& at, mode_t mode = 0600) const {
    guard::Listener out;
    out.name = name;
    out.path = path(at);
    out.mode = mode;
    return out;
  }
  static base::Fd connected(const std::string& to) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, to.c_str(), to.size() + 1);
    base::Fd out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) out.reset();
    return out;
  }
  static mode_t mode_of(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777U : 0;
  }
  // The listeners of so many waiting connections. Once: a stopped loop is over.
  std::vector<std::string> let_in(std::size_t count) {
    expected_ = count;
    if (came_in_.size() < count) (void)loop_.run();
    return std::exchange(came_in_, {});
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& one : listeners_->list()) out.push_back(one.name);
    return out;
  }
  using Texts = std::vector<std::string>;

  std::string directory_;
  EventLoop loop_;
  log::Log log_{log::LogLevel::kError};
  std::optional<Listeners> listeners_;
  Texts came_in_;
  std::size_t expected_ = 0;
};

TEST_F(ListenersTest, OneThatCannotMoveStaysWhereItWas) {
  ASSERT_EQ(listeners_->replace({listener("a", "a")}), Texts{});
  EXPECT_EQ(
      listeners_->replace({listener("a", "no/a"), listener("b", "b")}),
      Texts{"the listener \"a\" stays as it was: the directory " + path("no") + " does not exist, so the socket " +
            path("no/a") + " cannot be made: make the directory, or name another path"});
  EXPECT_TRUE(connected(path("a")));
  EXPECT_EQ(names(), (Texts{"main", "a", "b"}));
  EXPECT_EQ(listeners_->replace({listener("a", "elsewhere")}), Texts{});
  EXPECT_FALSE(connected(path("a")));
  const auto client = connected(path("elsewhere"));
  EXPECT_EQ(let_in(1), Texts{"a/"});
}

TEST_F(ListenersTest, OtherRightsComeWithoutAMomentWithoutASocket) {
  ASSERT_EQ(listeners_->replace({listener("a", "a", 0600)}), Texts{});
  const auto early = connected(path("a"));
  EXPECT_EQ(listeners_->replace({listener("a", "a", 0666)}), Texts{});
  EXPECT_EQ(mode_of(path("a")), 0666U);
  EXPECT_EQ(came_in_.size(), 1U) << "who waited was not sent away";
  const auto late = connected(path("a"));
  EXPECT_EQ(let_in(2), (Texts{"a/", "a/"}));
}

TEST_F(ListenersTest, AListenerWhoseRightsCannotChangeKeepsItsRights) {
  ASSERT_EQ(listeners_->replace({listener("a", "a", 0600)}), Texts{});
  std::filesystem::create_directory(path("a.new"));  // in the way
  auto other = listener("a", "a", 0666);
  other.profile = "attest";
  const auto troubles = listeners_->replace({other});
  ASSERT_EQ(troubles.size(), 1U);
  EXPECT_TRUE(troubles[0].starts_with("the listener \"a\" stays as it was: the socket ")) << troubles[0];
  EXPECT_EQ(mode_of(path("a")), 0600U);
  EXPECT_TRUE(connected(path("a")));
  EXPECT_EQ(listeners_->list().at(1).profile, "");
  // Its name is another's now.
  EXPECT_EQ(listeners_->replace({listener("b", "a", 0666), listener("a", "c")}).size(), 1U);
  EXPECT_EQ(names(), (Texts{"main", "a"}));
  const auto client = connected(path("c"));
  EXPECT_EQ(let_in(1), Texts{"a/"});
}

TEST_F(ListenersTest, NamesAndProfilesChangeInPlace) {
  auto a = listener("a", "1"), b = listener("b", "2");
  ASSERT_EQ(listeners_->replace({a, b}), Texts{});
  std::swap(a.path, b.path);
  b.profile = "attest";
  EXPECT_EQ(listeners_->replace({a, b}), Texts{});
  const auto client = connected(path("1"));
  EXPECT_EQ(let_in(1), Texts{"b/attest"});
  EXPECT_EQ(listeners_->replace({}), Texts{});
  EXPECT_EQ(names(), Texts{"main"});
  EXPECT_FALSE(std::filesystem::exists(path("1")));
}

TEST_F(ListenersTest, AListenerMadeAtRunTimeIsNotTheConfigurations) {
  ASSERT_TRUE(listeners_->add(listener("a", "a"), true));
  EXPECT_EQ(listeners_->replace({listener("a", "b")}),
            Texts{"the listener \"a\": there is a listener \"a\" already: give this one another name"});
  EXPECT_EQ(listeners_->replace({}), Texts{});
  EXPECT_TRUE(connected(path("a")));
}

}  // namespace
}  // namespace tpmspace::loop
