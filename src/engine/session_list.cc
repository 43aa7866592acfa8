#include "engine/session_list.h"

#include <algorithm>

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

}  // namespace tpmspace::engine
