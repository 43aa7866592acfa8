// The configuration is read again beside the loop: one reading at a time, and every request gets a reading that began
// after the request.
#include "daemon/rereading.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace tpmspace::daemon {
namespace {

// A reader that takes as long as the test wants.
struct SlowReader {
  std::mutex mutex;
  std::condition_variable changed;
  int begun = 0, allowed = 0;

  Rereading::Result read() {
    std::unique_lock lock(mutex);
    const int mine = ++begun;
    changed.notify_all();
    changed.wait(lock, [&] { return allowed >= mine; });
    return tl::unexpected("reading " + std::to_string(mine));
  }
  void wait_for(int reading) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return begun >= reading; });
  }
  void allow(int readings) {
    const std::lock_guard lock(mutex);
    allowed = readings;
    changed.notify_all();
  }
};

TEST(Rereading, ARequestMeanwhileGetsTheNextReading) {
  using Told = std::vector<std::pair<std::string, std::vector<host::ClientId>>>;
  const auto slow = std::make_shared<SlowReader>();
  loop::EventLoop loop;
  Told told;
  Rereading rereading(
      loop, [slow] { return slow->read(); },
      [&](const Rereading::Result& result, const std::vector<host::ClientId>& for_whom) {
        told.emplace_back(result.error(), for_whom);
        if (told.size() == 2) loop.stop(0);
      });
  rereading.ask(5);
  slow->wait_for(1);  // it is under way, and the loop goes on
  rereading.ask(6);
  rereading.ask(0);
  EXPECT_TRUE(told.empty());
  slow->allow(2);
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(told, (Told{{"reading 1", {5}}, {"reading 2", {6, 0}}}));
  EXPECT_EQ(slow->begun, 2);
}

TEST(Rereading, AReadingThatNeverEndsIsLeft) {
  const auto slow = std::make_shared<SlowReader>();
  {
    loop::EventLoop loop;
    Rereading rereading(
        loop, [slow] { return slow->read(); },
        [](const Rereading::Result&, const std::vector<host::ClientId>&) { ADD_FAILURE(); });
    rereading.ask(1);
    slow->wait_for(1);
  }
  slow->allow(1);
}

}  // namespace
}  // namespace tpmspace::daemon
