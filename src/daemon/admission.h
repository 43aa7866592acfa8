// From an accepted connection to a client: the identity, a place within the limits, or a refusal.
//
// Idea: two steps. The first identifies a connection that has waited for its turn (Arrivals), from its socket. The
// second, `admit`, takes the identity as a value and reads nothing from the socket; a client that another part has
// identified enters there. For a client without a place the uid is enough: a full identification takes longer than the
// refusal. Beyond all limits some places are kept for administrators at the main listener.
// Threads: belongs to the event loop.
// Limits: ClientLimits; `Descriptors::refused` refused clients wait for their response at a time, for
// limits::kRefusedPatience each, and further refused clients are closed at once. Errors: lines in the log.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "access/access_control.h"
#include "base/limits.h"
#include "config/config.h"
#include "daemon/clients.h"
#include "host/chips.h"
#include "log/log.h"
#include "loop/arrivals.h"
#include "loop/event_loop.h"

namespace tpmspace::daemon {

using Verdict = access::ClientLimits::Verdict;

// The division of the system's descriptors.
struct Descriptors {
  std::uint32_t clients = 0;  // 0: no limit
  std::size_t refused = limits::kRefusedAtATime;
  std::size_t arrivals = limits::kArrivals;
  unsigned unread = limits::kUnreadProcesses;
};
// `limit`: of open files; `own`: the daemon's own open descriptors.
[[nodiscard]] Descriptors divide_descriptors(std::uint32_t limit, std::uint32_t own);
// By the limit of this process.
[[nodiscard]] Descriptors divide_descriptors_of_process(std::size_t chips, std::size_t listeners);

// An identified client.
struct Newcomer {
  access::ClientIdentity identity;
  loop::Listeners::Occupancy listener;
  Verdict verdict = Verdict::kWelcome;  // by the facts known before the identity
  bool has_kept_place = false;          // if the client administers
};

class Admission {
 public:
  // `room_again`: after a lack of room for accepted connections.
  Admission(loop::EventLoop& loop, log::Log& log, const config::Limits& limits, const Descriptors& descriptors,
            access::AccessControl& access_control, host::Chips& chips, Clients& clients, Connection::Host& host,
            std::function<void()> room_again);

  // Takes a newly accepted connection, which waits to be identified.
  void add(base::Fd socket, const guard::Entrance& entrance, const loop::Listeners::Occupancy& listener) {
    arrivals_.add(std::move(socket), entrance, listener);
  }
  [[nodiscard]] bool has_room() const { return arrivals_.has_room(); }
  // Makes the connection a client, or refuses it.
  void admit(base::Fd socket, Newcomer newcomer);
  // Connections that wait are closed.
  void close() { arrivals_.clear(); }

 private:
  void identify(loop::Arrival arrived);
  [[nodiscard]] bool is_hopeless(const ucred& peer, const guard::Entrance& entrance, std::size_t waiting);
  // Whether there is a place for a client: as far as its uid tells, behind `more` clients of the same user; and by its
  // identity.
  [[nodiscard]] Verdict judge(const ucred& peer, const guard::Entrance& entrance, std::size_t more = 0);
  [[nodiscard]] Verdict judge(const access::ClientIdentity& identity);
  // One of the places kept for administrators is available to the peer.
  [[nodiscard]] bool has_kept_place_for(const ucred& peer, const guard::Entrance& entrance);
  // The code for a client that is answered once and closed; nullopt: the client is admitted.
  [[nodiscard]] std::optional<wire::Rc> refusal_of(const access::ClientIdentity& identity, Verdict verdict,
                                                   bool is_kept);
  void say_refused(const access::ClientIdentity& identity, Verdict verdict);
  void say_in_doubt(const access::ClientIdentity& identity);
  void drop_slow_refused();

  // Constant.
  log::Log& log_;
  loop::EventLoop& loop_;
  const config::Limits limits_;
  const Descriptors descriptors_;
  const uid_t own_uid_ = ::geteuid() == guard::kOverflowUid ? 0 : ::geteuid();  // root's as well: root administers, too

  access::AccessControl& access_control_;
  host::Chips& chips_;
  Clients& clients_;
  Connection::Host& host_;
  loop::Arrivals arrivals_;
  log::RateLimit refused_lines_;
  log::RateLimit doubt_lines_;
  loop::Timer refused_timer_;
};

}  // namespace tpmspace::daemon
