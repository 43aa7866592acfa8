#include "space/reclaim.h"

#include <algorithm>
#include <tuple>

#include "books/time.h"
#include "space/pools.h"

namespace tpmspace::space {

namespace {

// The order in which sessions are reclaimed.
auto rank(const Books& books, const OrdinarySessions& there, const Session& session) {
  const bool abandoned = session.space.value == 0;
  const Space* space = find_space(books, session.space);
  const bool beyond_claim =
      !abandoned && TPMSPACE_HOLDS(space != nullptr) && there.of(session.space) > space->limits.terms.claim;
  return std::tuple{!abandoned, session.asked_authority, !beyond_claim, session.last_use};
}

}  // namespace

OrdinarySessions::OrdinarySessions(const Books& books) {
  for (const auto& [number, session] : books.sessions) {
    if (session.reserved) ++reserved;
    if (!session.is_ordinary()) continue;
    OfSpace& space = by_space[session.space];
    ++space.held;
    space.served_at = std::max(space.served_at, session.served_at);
    ++by_owner[session.owner];
  }
  for (const auto& place : books.kept_places.places()) ++by_owner[place.owner];
}

std::uint32_t OrdinarySessions::of(SpaceId space) const {
  const auto found = by_space.find(space);
  return found == by_space.end() ? 0 : found->second.held;
}

std::uint64_t OrdinarySessions::served_at(SpaceId space) const {
  const auto found = by_space.find(space);
  return found == by_space.end() ? 0 : found->second.served_at;
}

std::uint32_t OrdinarySessions::of(OwnerId owner) const {
  const auto found = by_owner.find(owner);
  return found == by_owner.end() ? 0 : found->second;
}

FairShares::FairShares(const OrdinarySessions& there, const Chip& chip, std::uint32_t claim, std::size_t others)
    : there_(there), owners_(there.by_owner.size() + others) {
  const std::uint32_t kept = chip.kept_for_rebuilding() + there.reserved + (claim > 0 ? claim - 1 : 0);
  to_share_ = chip.active_sessions - std::min(chip.active_sessions, kept);
  anybody_is_above_ = std::any_of(there.by_owner.begin(), there.by_owner.end(),
                                  [this](const auto& entry) { return above(entry.second); });
}

// Whether `held` exceeds to_share_ / owners_.
bool FairShares::above(std::uint32_t held) const {
  return std::uint64_t{held} * owners_ > to_share_;
}

Taking session_to_take(const Books& books, const FairShares& shares, const Waiter& waiter, std::uint64_t now) {
  Taking out;
  const OrdinarySessions& there = shares.there();
  const Session* victim = nullptr;
  for (const auto& [number, session] : books.sessions) {
    if (!session.is_ordinary() || session.space == waiter.space) continue;
    const bool is_above = shares.is_above(session.owner);
    if (shares.anybody_is_above() && !is_above) continue;
    std::uint64_t due = after(session.used_at, session.lease);
    if (is_above && there.of(waiter.owner) < there.of(session.owner)) {
      const std::uint64_t from = std::max(waiter.since, there.served_at(session.space));
      due = std::min(due, after(from, session.tenure));
    }
    if (due > now) {
      if (due != UINT64_MAX) out.at = std::min(out.at.value_or(due), due);
    } else if (victim == nullptr || rank(books, there, session) < rank(books, there, *victim)) {
      victim = &session;
      out.number = number;
      const bool is_idle = after(session.used_at, session.lease) <= now;
      out.by = {.why = is_idle ? wire::Taker::Why::kLease : wire::Taker::Why::kShare,
                .waiter = waiter.owner.value,
                .user = holder_of(books, waiter.space).part.user};
    }
  }
  return out;
}

wire::Reclaimed taken(const Session& session, const wire::Taker& by) {
  return {.owner = session.owner.value,
          .user = session.part.user,
          .space = session.space.value,
          .handle = session.client.value,
          .by = by};
}

namespace {

// In the order of reclaiming.
std::vector<const Session*> left_behind_past_lease(const Books& books, std::uint64_t now) {
  std::vector<const Session*> out;
  for (const auto& [number, session] : books.sessions)
    if (session.is_ordinary() && session.space.value == 0 && after(session.used_at, session.lease) <= now)
      out.push_back(&session);
  std::sort(out.begin(), out.end(), [](const Session* one, const Session* other) {
    return std::tie(one->asked_authority, one->last_use) < std::tie(other->asked_authority, other->last_use);
  });
  return out;
}

}  // namespace

std::optional<std::vector<std::uint32_t>> left_behind_to_take(const Books& books, SpaceId space, std::uint64_t now) {
  const auto missing = sessions_beyond_pools(books, space);
  std::vector<std::uint32_t> out;
  if (missing.empty()) return out;
  if (space_of(books, space).limits.terms.exhaustion != Exhaustion::kReclaim) return std::nullopt;

  const std::vector<const Session*> there = left_behind_past_lease(books, now);
  std::map<PoolId, std::uint32_t> freed;
  for (const Session* session : there)
    for (const auto& [pool, count] : missing) freed[pool] += counts_for(books, *session, pool) ? 1U : 0U;
  if (std::any_of(missing.begin(), missing.end(), [&](const auto& one) { return freed[one.first] < one.second; }))
    return std::nullopt;

  // All together would be enough. Sessions that are not needed stay, the last in the order first.
  for (auto it = there.rbegin(); it != there.rend(); ++it) {
    const Session& session = **it;
    const bool needed = std::any_of(missing.begin(), missing.end(), [&](const auto& one) {
      return counts_for(books, session, one.first) && freed[one.first] == one.second;
    });
    if (needed) {
      out.push_back(wire::number_of(session.handle));
      continue;
    }
    for (auto& [pool, count] : freed) count -= counts_for(books, session, pool) ? 1U : 0U;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace tpmspace::space
