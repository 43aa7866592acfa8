// Clients that were accepted and are not identified yet.
//
// Idea: accepting a client takes a few system calls, identifying takes some dozens. The kernel's queue of a listening
// socket is shared by all users, first come, first served; so the daemon empties the queue quickly, and the clients
// wait here, where the users of each listener take turns (RoundRobin). A client that has hung up is not identified,
// neither at accept nor in its turn. Received bytes prove nothing, since any client can send. If there is no room here,
// accepting waits (Acceptor).
// Threads: belongs to the event loop.
// Limits: `most` clients wait; before other work has its turn, limits::kIdentificationsPerRound clients are identified
// and limits::kHangupsPerRound hung-up clients are closed.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/round_robin.h"
#include "guard/listener.h"
#include "loop/event_loop.h"
#include "loop/listeners.h"
#include "peer/peer_identity.h"

namespace tpmspace::loop {

struct Arrival {
  base::Fd socket;
  ucred peer = {};
  peer::SinceBoot accepted = {};
  guard::Entrance entrance = {};
  Listeners::Occupancy listener = {};
};

class Arrivals {
 public:
  struct Callbacks {
    // The uid whose turn is used: a subordinate uid uses the turn of its holder.
    std::function<uid_t(uid_t)> user_of;
    // True: by the facts known at accept, the client would get neither a place nor a response. The connection is closed
    // at once. `waiting`: the number of clients of the same user that wait here.
    std::function<bool(const ucred& peer, const guard::Entrance& entrance, std::size_t waiting)> is_hopeless;
    std::function<void(Arrival)> identify;
    std::function<void()> room_again;  // after a lack of room
  };
  Arrivals(EventLoop& loop, std::size_t most, Callbacks callbacks);

  // Takes a newly accepted client.
  void add(base::Fd socket, const guard::Entrance& entrance, const Listeners::Occupancy& listener);
  [[nodiscard]] bool has_room() const { return waiting_.size() < most_; }
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }
  // All that wait are closed.
  void clear() { waiting_ = {}; }

 private:
  void identify_some();

  const std::size_t most_;
  const Callbacks callbacks_;
  base::RoundRobin<std::pair<std::string, uid_t>, Arrival> waiting_;
  Deferred turn_;
};

}  // namespace tpmspace::loop
