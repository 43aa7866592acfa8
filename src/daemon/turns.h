// The turns of connections on the event loop: see turn_queue.h for the order and the price.
//
// Idea: a round gives a few turns, then the loop looks at new events. While all owners with waiting connections rest, a
// timer waits for the first end of a rest.
// Threads: belongs to the event loop.
#pragma once

#include <cstddef>
#include <functional>

#include "books/owner.h"
#include "daemon/turn_queue.h"
#include "host/tpm_thread.h"
#include "loop/event_loop.h"

namespace tpmspace::daemon {

class Turns {
 public:
  // `take` gives the connection its turn. False: the connection has ended, and used no turn.
  Turns(loop::EventLoop& loop, std::function<bool(host::ClientId)> take);

  // As in TurnQueue.
  void put(space::OwnerId owner, host::ClientId connection);
  void charge(space::OwnerId owner, std::size_t frames);

 private:
  void take_some();
  void ask_for_round();

  const std::function<bool(host::ClientId)> take_;
  TurnQueue queue_;
  loop::Deferred round_;
  loop::Timer rest_;
};

}  // namespace tpmspace::daemon
