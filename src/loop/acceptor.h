// Accepts clients, and pauses when accepting fails.
//
// Idea: each turn accepts a few clients, so each listening socket has its turn among all watched descriptors. If
// descriptors or memory run out, or the listening socket has another error, accepting pauses: the socket is not
// watched, so the loop does not spin. The watch resumes when a client has left or after limits::kAcceptPause, whichever
// is first. If the kernel then refuses the watch, accepting pauses again. Accepting also pauses while there is no room
// for new clients: no error.
// If more clients came than the kernel's queue holds, and the queue was never empty meanwhile, then clients connect
// faster than they can be accepted. So the queue is made short for a while: behind a full queue `connect` waits (or
// gives EAGAIN), and no client waits for thousands of others. Threads: belongs to the event loop. Errors: logged once
// for each shortage; a client that left before it was accepted is no error.
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

  // A descriptor was closed, or there is room again.
  void on_room() {
    if (paused_) resume();
  }
  // Accepts the clients that wait now, and no later clients.
  void finish();

 private:
  void accept_some();
  // False: stop accepting for now.
  [[nodiscard]] bool accept_one();
  void pause(const std::error_code& error);
  void pause();
  void resume();
  void shorten_queue();

  log::Log& log_;
  int fd_;
  Callback callback_;
  std::function<bool()> has_room_;
  bool paused_ = false;
  bool shortage_said_ = false;
  int accepted_ = 0;  // since the kernel's queue was empty; at most kBacklog
  Timer resume_timer_;
  Timer queue_timer_;  // armed: the kernel's queue is short
  Watch watch_;
};

}  // namespace tpmspace::loop
