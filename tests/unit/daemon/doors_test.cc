// What becomes of the doors when the configuration is read again.
#include "daemon/doors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

namespace tpmspace::daemon {
namespace {

class DoorsTest : public testing::Test {
 protected:
  DoorsTest() {
    char name[] = "/tmp/doorsXXXXXX";
    directory_ = ::mkdtemp(name);
    auto main = Listener::claim({.path = path("main"), .mode = 0600});
    doors_.emplace(
        loop_, log_, std::move(*main),
        [this](const posix::Fd&, const Entrance& entrance, const Doors::Occupancy&) {
          came_in_.push_back(entrance.door + "/" + entrance.profile);
          if (came_in_.size() == expected_) loop_.stop(0);
        },
        [] { return true; });
    EXPECT_TRUE(doors_->open());
  }
  ~DoorsTest() override {
    doors_.reset();
    std::filesystem::remove_all(directory_);
  }

  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }
  [[nodiscard]] Door door(const std::string& name, const std::string& at, mode_t mode = 0600) const {
    Door out;
    out.name = name;
    out.path = path(at);
    out.mode = mode;
    return out;
  }
  static posix::Fd connected(const std::string& to) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, to.c_str(), to.size() + 1);
    posix::Fd out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) out.reset();
    return out;
  }
  static mode_t mode_of(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777U : 0;
  }
  // Through which doors those came who wait: so many. Once: a loop that was stopped is over.
  std::vector<std::string> let_in(std::size_t count) {
    expected_ = count;
    if (came_in_.size() < count) (void)loop_.run();
    return std::exchange(came_in_, {});
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& one : doors_->list()) out.push_back(one.name);
    return out;
  }
  using Texts = std::vector<std::string>;

  std::string directory_;
  EventLoop loop_;
  Log log_{LogLevel::kError};
  std::optional<Doors> doors_;
  Texts came_in_;
  std::size_t expected_ = 0;
};

TEST_F(DoorsTest, OneThatCannotMoveStaysWhereItWas) {
  ASSERT_EQ(doors_->replace({door("a", "a")}), Texts{});
  EXPECT_EQ(doors_->replace({door("a", "no/a"), door("b", "b")}),
            Texts{"the door \"a\" stays as it was: the directory " + path("no") + " does not exist, so the socket " +
                  path("no/a") + " cannot be made: make it, or name another path"});
  EXPECT_TRUE(connected(path("a")));
  EXPECT_EQ(names(), (Texts{"main", "a", "b"}));
  EXPECT_EQ(doors_->replace({door("a", "elsewhere")}), Texts{});
  EXPECT_FALSE(connected(path("a")));
  const auto client = connected(path("elsewhere"));
  EXPECT_EQ(let_in(1), Texts{"a/"});
}

TEST_F(DoorsTest, OtherRightsComeWithoutAMomentWithoutASocket) {
  ASSERT_EQ(doors_->replace({door("a", "a", 0600)}), Texts{});
  const auto early = connected(path("a"));
  EXPECT_EQ(doors_->replace({door("a", "a", 0666)}), Texts{});
  EXPECT_EQ(mode_of(path("a")), 0666U);
  EXPECT_EQ(came_in_.size(), 1U) << "who waited was not sent away";
  const auto late = connected(path("a"));
  EXPECT_EQ(let_in(2), (Texts{"a/", "a/"}));
}

TEST_F(DoorsTest, OneThatCannotHaveOtherRightsKeepsThoseItHad) {
  ASSERT_EQ(doors_->replace({door("a", "a", 0600)}), Texts{});
  std::filesystem::create_directory(path("a.new"));  // in the way
  auto other = door("a", "a", 0666);
  other.profile = "attest";
  const auto troubles = doors_->replace({other});
  ASSERT_EQ(troubles.size(), 1U);
  EXPECT_TRUE(troubles[0].starts_with("the door \"a\" stays as it was: the socket ")) << troubles[0];
  EXPECT_EQ(mode_of(path("a")), 0600U);
  EXPECT_TRUE(connected(path("a")));
  EXPECT_EQ(doors_->list().at(1).profile, "");
  // Its name is another's now.
  EXPECT_EQ(doors_->replace({door("b", "a", 0666), door("a", "c")}).size(), 1U);
  EXPECT_EQ(names(), (Texts{"main", "a"}));
  const auto client = connected(path("c"));
  EXPECT_EQ(let_in(1), Texts{"a/"});
}

TEST_F(DoorsTest, NamesAndProfilesChangeInPlace) {
  auto a = door("a", "1"), b = door("b", "2");
  ASSERT_EQ(doors_->replace({a, b}), Texts{});
  std::swap(a.path, b.path);
  b.profile = "attest";
  EXPECT_EQ(doors_->replace({a, b}), Texts{});
  const auto client = connected(path("1"));
  EXPECT_EQ(let_in(1), Texts{"b/attest"});
  EXPECT_EQ(doors_->replace({}), Texts{});
  EXPECT_EQ(names(), Texts{"main"});
  EXPECT_FALSE(std::filesystem::exists(path("1")));
}

TEST_F(DoorsTest, WhatWasMadeAtRunTimeIsNotTheConfigurations) {
  ASSERT_TRUE(doors_->add(door("a", "a"), true));
  EXPECT_EQ(doors_->replace({door("a", "b")}),
            Texts{"the door \"a\": there is a door \"a\" already: give this one another name"});
  EXPECT_EQ(doors_->replace({}), Texts{});
  EXPECT_TRUE(connected(path("a")));
}

}  // namespace
}  // namespace tpmspace::daemon
