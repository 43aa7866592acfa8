// Whose connection handles frames next: owners take turns, and an owner pays for frames that cost no TPM time.
//
// Idea: the owners with waiting connections form a circle; a turn goes to the first connection of the next owner. The
// TPM paces the commands that it runs. Nothing paces a frame that the daemon answers itself (a refusal, a control
// reply), so such a frame is charged to the owner as a debt that time pays off. An owner whose debt is above the burst
// rests: its connections wait until time has paid the excess. The price of a frame grows with the number of owners in
// debt, so all owners together can use the daemon for such frames only a part of the time.
//
// Threads: a value; the caller passes the time. Units: frames, time points of the steady clock.
// Costs: logarithmic in the number of owners. Limits: a debt is at most twice the burst.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "books/owner.h"
#include "host/tpm_thread.h"

namespace tpmspace::daemon {

class TurnQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // A connection has frames to handle. Precondition: the connection is not in the queue.
  void put(space::OwnerId owner, host::ClientId connection, Time now);
  // Frames of the owner were answered without a TPM.
  void charge(space::OwnerId owner, std::size_t frames, Time now);
  // The connection whose turn it is; nullopt: none, or all owners with waiting connections rest.
  [[nodiscard]] std::optional<host::ClientId> next(Time now);
  // The next end of a rest; nullopt: no owner with waiting connections rests.
  [[nodiscard]] std::optional<Time> wake() const;
  // An owner is in the circle: `next` may have a connection.
  [[nodiscard]] bool is_ready() const { return !circle_.empty(); }

 private:
  // The end of the owner's rest; nullopt: the owner does not rest.
  [[nodiscard]] std::optional<Time> rest_of(space::OwnerId owner, Time now) const;
  // The time that pays for one frame.
  [[nodiscard]] std::chrono::nanoseconds price() const;
  void forget_paid(Time now);
  void wake_up(Time now);

  std::map<space::OwnerId, std::deque<host::ClientId>> lines_;  // no line is empty
  std::deque<space::OwnerId> circle_;                           // an owner of lines_ is here or in resting_, once
  std::set<std::pair<Time, space::OwnerId>> resting_;           // by the end of the rest
  std::map<space::OwnerId, Time> paid_at_;                      // when the owner's debt will be paid
  std::set<std::pair<Time, space::OwnerId>> debts_;             // paid_at_ by time
};

}  // namespace tpmspace::daemon
