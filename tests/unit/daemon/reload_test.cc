// What a reload changes, and when it changes nothing.
#include "daemon/reload.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

namespace tpmspace::daemon {
namespace {

class ReloadTest : public testing::Test {
 protected:
  ReloadTest() {
    char name[] = "/tmp/reloadXXXXXX";
    directory_ = ::mkdtemp(name);
    auto main = loop::ListeningSocket::claim({.path = directory_ + "/main", .mode = 0600});
    listeners_.emplace(
        loop_, log_, std::move(*main),
        [](const base::Fd&, const guard::Entrance&, const loop::Listeners::Occupancy&) {}, [] { return true; });
    EXPECT_TRUE(listeners_->open());
    reload_.emplace(
        loop_, log_, guard::Access{}, "/etc/the.toml", [this] { return next_; }, access_control_, *listeners_,
        [](const guard::Chip& chip) { return chip.name == "main"; },
        [this](const proto::Outcome& outcome, const std::vector<host::ClientId>& for_whom) {
          outcome_ = outcome;
          for_whom_ = for_whom;
          loop_.stop(0);
        });
  }
  ~ReloadTest() override {
    reload_.reset();
    listeners_.reset();
    std::filesystem::remove_all(directory_);
  }

  [[nodiscard]] Rereading::Read with_listener(const std::string& name, std::optional<std::string> chip) const {
    Rereading::Read out;
    guard::Listener listener;
    listener.name = name;
    listener.path = directory_ + "/" + name;
    listener.chip = std::move(chip);
    out.access.listeners.push_back(listener);
    guard::Chip other;
    other.name = "new";
    out.access.chips.push_back(other);
    return out;
  }
  void reload(Rereading::Result with) {
    next_ = std::move(with);
    reload_->ask(7);
    (void)loop_.run();
  }

  std::string directory_;
  loop::EventLoop loop_;
  log::Log log_{log::LogLevel::kError};
  access::AccessControl access_control_{
      std::make_shared<const guard::Policy>(guard::Policy::standard(0)), {"main"}, {}, UINT64_MAX};
  std::optional<loop::Listeners> listeners_;
  Rereading::Result next_;
  std::optional<Reload> reload_;
  proto::Outcome outcome_;
  std::vector<host::ClientId> for_whom_;
};

TEST_F(ReloadTest, TheNewListenersArePresentAndTheAskingClientIsTold) {
  reload(with_listener("two", "main"));
  EXPECT_TRUE(outcome_.done);
  EXPECT_EQ(outcome_.sentence,
            "the configuration was read again; profiles, rules, namespaces and listeners are as it says now");
  EXPECT_EQ(for_whom_, std::vector<host::ClientId>{7});
  EXPECT_EQ(listeners_->list().size(), 2U);
  EXPECT_EQ(reload_->access().listeners.size(), 1U);
}

TEST_F(ReloadTest, AMissingFileIsNamed) {
  Rereading::Read read;
  read.has_file = false;
  reload(read);
  EXPECT_TRUE(outcome_.done);
  EXPECT_NE(outcome_.sentence.find("there is no file /etc/the.toml"), std::string::npos);
}

TEST_F(ReloadTest, AChipThatIsNotServedChangesNothing) {
  reload(with_listener("two", "new"));
  EXPECT_FALSE(outcome_.done);
  EXPECT_EQ(outcome_.sentence,
            "nothing was changed: the listener \"two\" has the chip \"new\", which is served as the configuration says "
            "from the next start on: restart tpmspaced");
  EXPECT_EQ(listeners_->list().size(), 1U);
  EXPECT_TRUE(reload_->access().listeners.empty());
}

TEST_F(ReloadTest, AListenerThatCannotBeMadeIsTold) {
  auto read = with_listener("two", "main");
  read.access.listeners[0].path = directory_ + "/nowhere/two";
  reload(std::move(read));
  EXPECT_FALSE(outcome_.done);
  EXPECT_NE(outcome_.sentence.find("; but "), std::string::npos);
}

}  // namespace
}  // namespace tpmspace::daemon
