#include "engine/session_list.h"

#include <algorithm>

#include "engine/impl.h"
#include "wire/handle.h"

namespace tpmspace::engine {
namespace {

SessionState state_of(const space::Session& session, bool parked) {
  if (session.client_saved) return session.space.value == 0 ? SessionState::kAbandoned : SessionState::kClientSaved;
  if (parked) return SessionState::kParked;
  return session.loaded() ? SessionState::kLoaded : SessionState::kSaved;
}

struct Selects {
  const SessionView& session;
  bool operator()(const TheseSessions& these) const {
    return !session.parked && std::any_of(these.handles.begin(), these.handles.end(), [this](std::uint32_t handle) {
      return wire::number_of(handle) == wire::number_of(session.handle);
    });
  }
  bool operator()(const AbandonedSessions&) const { return session.state == SessionState::kAbandoned; }
  bool operator()(const SessionsOf& of) const {
    return std::any_of(of.holders.begin(), of.holders.end(),
                       [this](const space::Holder& one) { return one.covers(session.holder); });
  }
  bool operator()(const ReserveSession&) const { return false; }
};

// Makes a list, for all sessions or for one holder: entries that the holder may not know are only counted.
class Lister {
 public:
  Lister(const space::Books& books, const std::optional<space::Holder>& only) : books_(books), only_(only) {}

  void add_active() {
    for (const auto& [number, session] : books_.sessions) {
      if (may_know({session.owner, session.part}))
        out_.sessions.push_back(view_of(session));
      else
        ++out_.hidden_sessions;
    }
  }
  // At most as many parked sessions are looked at as can be named, except the holder's own.
  void add_parked() {
    std::uint32_t known = 0;
    const auto add = [&](const space::Session& session) {
      if (!may_know({session.owner, session.part})) return;
      if (known++ < SessionList::kMaxParked) out_.sessions.push_back(view_of(session, true));
    };
    if (only_) {
      for_each_parked_of(only_->owner, add);
    } else {
      for (const auto& [key, session] : books_.parked) {
        if (known == SessionList::kMaxParked) break;
        add(session);
      }
      for (const auto& [copy, session] : books_.parked_files) {
        if (known == SessionList::kMaxParked) break;
        add(session);
      }
      known = books_.parked_in_all.sessions;
    }
    out_.hidden_sessions += books_.parked_in_all.sessions - known;
    out_.more_parked = known - std::min(known, std::uint32_t{SessionList::kMaxParked});
  }
  // Of hidden entries only the number is needed.
  void add_waiting(const space::WaitQueue& queue) {
    if (!only_) {
      std::size_t named = 0;
      for (const auto& [arrival, guest] : queue.guests()) {
        if (out_.waiting.size() == SessionList::kMaxWaiting) break;
        add(guest);
        ++named;
      }
      out_.more_waiting += static_cast<std::uint32_t>(queue.size() - named);
      return;
    }
    const auto* owner = queue.owner(only_->owner);
    const std::size_t own = owner == nullptr ? 0 : owner->guests.size();
    out_.hidden_waiting += static_cast<std::uint32_t>(queue.size() - own);
    if (owner == nullptr) return;
    for (const auto& [arrival, kind] : owner->guests) {
      const auto& guest = queue.at(arrival);
      if (!may_know(holder_of(books_, guest.space)))
        ++out_.hidden_waiting;
      else if (out_.waiting.size() >= SessionList::kMaxWaiting)
        ++out_.more_waiting;
      else
        add(guest);
    }
  }
  [[nodiscard]] SessionList take() { return std::move(out_); }

 private:
  void add(const space::WaitQueue::Guest& guest) {
    out_.waiting.push_back({.holder = holder_of(books_, guest.space),
                            .connection = guest.space.value,
                            .since = guest.since,
                            .deadline = guest.deadline});
  }
  [[nodiscard]] bool may_know(const space::Holder& holder) const { return !only_ || only_->covers(holder); }
  template <typename Each>
  void for_each_parked_of(space::OwnerId owner, Each each) const {
    const auto& spaces = books_.spaces_by_owner;
    for (auto it = spaces.lower_bound({owner, {}}); it != spaces.end() && it->first == owner; ++it) {
      const space::SpaceId space = it->second;
      auto parked = books_.parked.lower_bound({space, 0});
      for (; parked != books_.parked.end() && parked->first.space == space; ++parked) each(parked->second);
    }
    for_each_file(books_, owner, each);
  }

  const space::Books& books_;
  const std::optional<space::Holder>& only_;
  SessionList out_;
};

}  // namespace

SessionView view_of(const space::Session& session, bool parked) {
  return {.handle = parked ? session.client.value : session.handle,
          .kind = session.kind,
          .state = state_of(session, parked),
          .holder = {session.owner, session.part},
          .connection = session.space.value,
          .started_at = session.started_at,
          .used_at = session.used_at,
          .lease = session.lease,
          .rebuildable = session.reserved ? space::Rebuildable::kReserved : session.log.rebuildable,
          .parked = parked};
}

bool selects(const SessionOrder& order, const SessionView& session) {
  return std::visit(Selects{session}, order);
}

SessionList Engine::sessions(const std::optional<space::Holder>& only) const {
  return impl_->list_sessions(only);
}

SessionList Engine::Impl::list_sessions(const std::optional<space::Holder>& only) const {
  Lister lister(manager.books(), only);
  lister.add_active();
  lister.add_parked();
  lister.add_waiting(session_queue.queue());
  lister.add_waiting(number_queue.queue());
  return lister.take();
}

void Engine::ask_for_sessions(const SessionsQuery& query) {
  const Ticket ticket = ++impl_->last_ticket;
  impl_->queries.emplace(ticket, query);
  impl_->queue.push(query.payer.value, ticket, query.priority);
}

Step Engine::Impl::answer_query(const SessionsQuery& query) {
  const Time began = clock();
  Step step;
  step.sessions = SessionsAnswer{query.id, list_sessions(query.only)};
  queue.charge(query.payer.value, std::max(clock() - began, kLeastCharge));
  return step;
}

}  // namespace tpmspace::engine
