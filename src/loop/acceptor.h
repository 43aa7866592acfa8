// Accepting clients, and not being able to.
//
// Idea: a few clients a turn, so that each listening socket has its turn among all that is watched. Without descriptors
// or memory, or whatever else is wrong with the listening socket, accepting pauses: the socket is not watched, so
// nothing spins; it is watched again when a client has left or after limits::kAcceptPause, whichever is first. If the
// kernel then allows no watch, it pauses again. It also pauses while there is no room for who comes: that is no error.
// Threads: belongs to the event loop. Errors: logged once for each shortage; a client that left before it was accepted
// is nobody's error.
#pragma once

#include <functional>
#include <system_error>

#include "base/fd.h"
#include "log/log.h"
#include "loop/event_loop.h"

namespace tpmspace::loop {

class Acceptor {
 public:
  using Callback = std::function<void(base::Fd client)>;

  // `fd`: a listening, non-blocking socket that outlives the acceptor.
  Acceptor(EventLoop& loop, log::Log& log, int fd, Callback callback, std::function<bool()> has_room);

  // A descriptor was given back, or there is room again.
  void on_room() {
    if (paused_) resume();
  }
  // Those who wait by now come in, and nobody after that.
  void finish();

 private:
  void accept_some();
  // False: no more for now.
  [[nodiscard]] bool accept_one();
  void pause(const std::error_code& error);
  void pause();
  void resume();

  log::Log& log_;
  int fd_;
  Callback callback_;
  std::function<bool()> has_room_;
  bool paused_ = false;
  bool shortage_said_ = false;
  Timer resume_timer_;
  Watch watch_;
};

}  // namespace tpmspace::loop
