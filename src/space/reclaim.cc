#include "space/reclaim.h"

#include <algorithm>
#include <tuple>

#include "space/pools.h"

namespace tpmspace::space {

namespace {

std::uint64_t after(std::uint64_t time, std::uint64_t span) {
  return span > UINT64_MAX - time ? UINT64_MAX : time + span;
}

// What was given by the bank, and may be taken back.
bool is_ordinary(const Session& session) {
  return !session.can_be_made_again() && !session.reserved;
}

std::uint32_t reserved_sessions(const Books& books) {
  std::uint32_t out = 0;
  for (const auto& [number, session] : books.sessions) out += session.reserved ? 1U : 0U;
  return out;
}

// What a space holds, and when one that it had waited for was given to it.
struct Account {
  std::uint32_t held = 0;
  std::uint64_t served_at = 0;
};
using Accounts = std::map<SpaceId, Account>;

Accounts accounts_of(const Books& books) {
  Accounts out;
  for (const auto& [number, session] : books.sessions) {
    if (!is_ordinary(session)) continue;
    Account& account = out[session.space];
    ++account.held;
    account.served_at = std::max(account.served_at, session.served_at);
  }
  return out;
}

// The order in which sessions go.
auto rank(const Books& books, const Accounts& accounts, const Session& session) {
  const bool abandoned = session.space.value == 0;
  const bool beyond_claim =
      !abandoned && accounts.at(session.space).held > books.spaces.at(session.space).limits.terms.claim;
  return std::tuple{!abandoned, session.asked_authority, !beyond_claim, session.last_use};
}

}  // namespace

FairShares::FairShares(const Books& books, const Chip& chip, std::span<const Waiter> waiters, std::uint32_t claim)
    : to_share_(chip.active_sessions -
                std::min(chip.active_sessions,
                         chip.kept_for_rebuilding() + reserved_sessions(books) + (claim > 0 ? claim - 1 : 0))) {
  for (const auto& [number, session] : books.sessions)
    if (is_ordinary(session)) ++held_[session.owner];
  for (const Waiter& waiter : waiters) held_.try_emplace(waiter.owner, 0);
}

// More than to_share_ / owners.
bool FairShares::above(std::uint32_t held) const {
  return std::uint64_t{held} * held_.size() > to_share_;
}

std::uint32_t FairShares::held(OwnerId owner) const {
  const auto found = held_.find(owner);
  return found == held_.end() ? 0 : found->second;
}

bool FairShares::anybody_is_above() const {
  return std::any_of(held_.begin(), held_.end(), [this](const auto& entry) { return above(entry.second); });
}

Taking session_to_take(const Books& books, const Chip& chip, std::span<const Waiter> waiters, std::uint64_t now) {
  const Waiter& waiter = waiters.front();
  const FairShares shares(books, chip, waiters, books.spaces.at(waiter.space).limits.terms.claim);
  const Accounts accounts = accounts_of(books);
  const bool somebody_is_above = shares.anybody_is_above();

  Taking out;
  const Session* victim = nullptr;
  for (const auto& [number, session] : books.sessions) {
    if (!is_ordinary(session) || session.space == waiter.space) continue;
    if (somebody_is_above && !shares.is_above(session.owner)) continue;
    std::uint64_t due = after(session.used_at, session.lease);
    if (shares.is_above(session.owner) && shares.held(waiter.owner) < shares.held(session.owner)) {
      const std::uint64_t from = std::max(waiter.since, accounts.at(session.space).served_at);
      due = std::min(due, after(from, session.tenure));
    }
    if (due > now) {
      if (due != UINT64_MAX) out.at = std::min(out.at.value_or(due), due);
    } else if (victim == nullptr || rank(books, accounts, session) < rank(books, accounts, *victim)) {
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

// In the order in which they would go.
std::vector<const Session*> left_behind_past_lease(const Books& books, std::uint64_t now) {
  std::vector<const Session*> out;
  for (const auto& [number, session] : books.sessions)
    if (is_ordinary(session) && session.space.value == 0 && after(session.used_at, session.lease) <= now)
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
  if (books.spaces.at(space).limits.terms.exhaustion != Exhaustion::kReclaim) return std::nullopt;

  const std::vector<const Session*> there = left_behind_past_lease(books, now);
  std::map<PoolId, std::uint32_t> freed;
  for (const Session* session : there)
    for (const auto& [pool, count] : missing) freed[pool] += counts_for(books, *session, pool) ? 1U : 0U;
  if (std::any_of(missing.begin(), missing.end(), [&](const auto& one) { return freed[one.first] < one.second; }))
    return std::nullopt;

  // All would be enough. Whichever is not needed stays, and the last to go are the first to stay.
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
