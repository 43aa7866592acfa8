// The event loop's own promises: fair between many ready descriptors, and no call to a watch that was stopped.
#include "loop/event_loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"

namespace tpmspace::loop {
namespace {

struct Ready {
  base::Fd fd{::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)};
  Watch watch;
};

// One client may close thousands of connections at once; the others must not wait for all of them.
TEST(EventLoop, AThousandThatAreReadyLetOthersHaveTheirTurn) {
  constexpr int kMany = 1000;
  EventLoop loop;
  int handled = 0, handled_before = -1;
  Deferred other = loop.deferred([&] { handled_before = handled; });
  std::vector<std::unique_ptr<Ready>> many;
  for (int i = 0; i < kMany; ++i) {
    auto& one = many.emplace_back(std::make_unique<Ready>());
    one->watch = loop.watch(one->fd.get(), EPOLLIN, [&, &ready = *one](std::uint32_t) {
      if (handled == 0) other.ask();
      ready.watch.stop();
      if (++handled == kMany) loop.stop(0);
    });
  }
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(handled, kMany) << "each once";
  EXPECT_GE(handled_before, 0);
  EXPECT_LT(handled_before, kMany / 2);
}

// A flood that always has more to handle must not keep other descriptors from their turn.
TEST(EventLoop, ADeferredCallThatAlwaysAsksAgainLetsOthersHaveTheirTurn) {
  EventLoop loop;
  Ready one;
  int calls = 0, heard = 0;
  std::optional<Deferred> again;
  again = loop.deferred([&] {
    again->ask();
    if (++calls == 1000) loop.stop(1);
  });
  again->ask();
  one.watch = loop.watch(one.fd.get(), EPOLLIN, [&](std::uint32_t) {
    if (++heard == 100) loop.stop(0);
  });
  EXPECT_EQ(loop.run(), 0);
  EXPECT_GE(calls, 50) << "nor must others keep it from being called";
  EXPECT_LE(calls, 210);
}

TEST(EventLoop, AWatchStoppedByAnotherIsNotCalled) {
  EventLoop loop;
  Ready first, second;
  int calls = 0;
  const auto stop_both = [&](std::uint32_t) {
    ++calls;
    first.watch.stop();
    second.watch.stop();
    loop.stop(0);
  };
  first.watch = loop.watch(first.fd.get(), EPOLLIN, stop_both);
  second.watch = loop.watch(second.fd.get(), EPOLLIN, stop_both);
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, AWatchCanBeStartedAgain) {
  EventLoop loop;
  Ready one;
  int calls = 0;
  Deferred again = loop.deferred([&] { EXPECT_FALSE(one.watch.start()); });
  one.watch = loop.watch(one.fd.get(), EPOLLIN, [&](std::uint32_t) {
    one.watch.stop();
    if (++calls == 2)
      loop.stop(7);
    else
      again.ask();
  });
  EXPECT_EQ(loop.run(), 7);
  EXPECT_EQ(calls, 2);
}

// The kernel's limit of watches cannot be reached in a test; that a descriptor is watched twice it refuses as well.
TEST(EventLoop, AWatchThatIsRefusedCanBeStartedLater) {
  EventLoop loop;
  Ready one;
  one.watch = loop.watch(one.fd.get(), EPOLLIN, [](std::uint32_t) {});
  int calls = 0;
  Watch second = loop.idle_watch(one.fd.get(), EPOLLIN, [&](std::uint32_t) {
    ++calls;
    loop.stop(0);
  });
  EXPECT_EQ(second.start(), std::errc::file_exists);
  one.watch.stop();
  EXPECT_FALSE(second.start());
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace tpmspace::loop
