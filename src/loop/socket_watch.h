// Reports when another program's Unix socket appears, without polling.
//
// Idea: inotify watches the socket's directory; while the directory is missing, its deepest existing ancestor. Any
// event in the watched directory is only a reason to look: the socket has appeared if it differs from the socket at the
// last look. Every user can write to directories like /tmp, so a pause follows each look, however many events occur.
// Threads: belongs to the event loop. Limits: one inotify instance and one watch; kPause between two looks. Errors:
// without inotify no socket is reported, so callers also have a timer.
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

  // From now on `appeared` is called for each new socket, and soon for an existing socket. No effect if already
  // running.
  void start();
  void stop();

 private:
  using Identity = std::tuple<dev_t, ino_t, std::int64_t, std::int64_t>;  // the last two: time of creation
  [[nodiscard]] std::optional<Identity> identity() const;
  // Watches the directory that is the right one now.
  void watch_directory();
  void on_event();
  void look();

  EventLoop& loop_;
  const std::string path_;
  std::function<void()> appeared_;
  base::Fd inotify_;  // -1: not running
  int watched_ = -1;
  std::optional<Identity> seen_;
  Watch events_;
  Timer pause_;
};

}  // namespace tpmspace::loop
