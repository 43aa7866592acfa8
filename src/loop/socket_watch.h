// Tells when a Unix socket that somebody else makes is there, without asking again and again.
//
// Idea: inotify watches the directory it will be in; while that is missing, the deepest one above that is there.
// Whatever happens in it is only a reason to look: the socket has appeared if it is another one than at the last look.
// Directories like /tmp belong to everybody, so after each look comes a pause, however much goes on in there.
// Threads: belongs to the event loop. Limits: one inotify instance and one watch; kPause between two looks.
// Errors: where inotify cannot be had nothing is ever told, so whoever waits has a timer as well.
// Source: inotify(7).
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <tuple>

#include "base/fd.h"
#include "loop/event_loop.h"

namespace tpmspace::loop {

class SocketWatch {
 public:
  static constexpr std::chrono::milliseconds kPause{20};

  // `path`: empty for nothing to watch.
  SocketWatch(EventLoop& loop, std::string path, std::function<void()> appeared);

  // From now on `appeared` is called for each new socket; soon for one that is there already. Does nothing if it runs.
  void start();
  void stop();

 private:
  using Identity = std::tuple<dev_t, ino_t, std::int64_t, std::int64_t>;  // the last two: when it was made
  [[nodiscard]] std::optional<Identity> identity() const;
  // Of the directory to watch now, anew.
  void watch_directory();
  void on_event();
  void look();

  EventLoop& loop_;
  const std::string path_;
  std::function<void()> appeared_;
  base::Fd inotify_;  // -1: it does not run
  int watched_ = -1;
  std::optional<Identity> seen_;
  Watch events_;
  Timer pause_;
};

}  // namespace tpmspace::loop
