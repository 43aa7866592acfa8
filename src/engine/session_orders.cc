// An administrator's orders about sessions: to take sessions away, to keep a session loaded.
#include <algorithm>
#include <utility>

#include "engine/impl.h"

namespace tpmspace::engine {

namespace {

// Whether the session is the one in the view, in any state.
bool is_same(const space::Session& session, const SessionView& view) {
  return session.owner == view.holder.owner && session.started_at == view.started_at;
}

}  // namespace

void Engine::order_sessions(std::uint64_t order, SessionOrder what) {
  OrderUnderWay under_way;
  under_way.what = std::move(what);
  under_way.done.order = order;
  impl_->orders.push_back(std::move(under_way));
}

std::optional<Step> Engine::Impl::go_on_with_order(Time now) {
  if (orders.empty()) return std::nullopt;
  OrderUnderWay& order = orders.front();
  const auto* which = std::get_if<ReserveSession>(&order.what);
  Step step = which != nullptr ? reserve(order, *which) : go_on_flushing(order);
  if (step.account && step.account->tpm_lost) not_before = now + kLostPause;
  if (order.to_take.empty()) {
    std::reverse(order.done.sessions.begin(), order.done.sessions.end());
    step.order_done = std::move(order.done);
    orders.pop_front();
  }
  return step;
}

// Parked sessions go at once: no TPM command is needed.
Step Engine::Impl::begin_flushing(OrderUnderWay& order) {
  const space::Books& books = manager.books();
  for (const auto& [number, session] : books.sessions)
    if (const SessionView view = view_of(session); selects(order.what, view)) order.to_take.push_back(view);
  std::vector<space::ParkedKey> parked;
  std::vector<space::ContextDigest> files;
  const auto selected = [&](const space::Session& session) {
    const SessionView view = view_of(session, true);
    if (!selects(order.what, view)) return false;
    if (order.done.sessions.size() < SessionList::kMaxParked) order.done.sessions.push_back(view);
    return true;
  };
  for (const auto& [key, session] : books.parked)
    if (selected(session)) parked.push_back(key);
  for (const auto& [copy, session] : books.parked_files)
    if (selected(session)) files.push_back(copy);
  return parked.empty() && files.empty() ? Step{} : account_only(manager.take_parked_sessions(parked, files));
}

Step Engine::Impl::go_on_flushing(OrderUnderWay& order) {
  if (!std::exchange(order.begun, true))
    if (Step parked_ones = begin_flushing(order); parked_ones.account) return parked_ones;
  if (order.to_take.empty()) return {};
  const SessionView view = order.to_take.back();
  order.to_take.pop_back();
  const auto& sessions = manager.books().sessions;
  const std::uint32_t number = wire::number_of(view.handle);
  const auto found = sessions.find(number);
  // The owner may have loaded the session again meanwhile.
  if (found == sessions.end() || !is_same(found->second, view) || !selects(order.what, view_of(found->second)))
    return {};
  order.done.sessions.push_back(view_of(found->second));
  return account_only(manager.take_session(number, {wire::Taker::Why::kOrder}));
}

Step Engine::Impl::reserve(OrderUnderWay& order, const ReserveSession& which) {
  const std::uint32_t number = wire::number_of(which.handle);
  Step step = account_only(manager.reserve_session(number, which.reserved, order.done.code));
  const auto found = manager.books().sessions.find(number);
  if (order.done.code == 0 && found != manager.books().sessions.end())
    order.done.sessions.push_back(view_of(found->second));
  return step;
}

}  // namespace tpmspace::engine
