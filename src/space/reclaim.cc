#include "space/reclaim.h"

#include <algorithm>
#include <tuple>

namespace tpmspace::space {

namespace {

std::uint64_t after(std::uint64_t time, std::uint64_t span) {
  return span > UINT64_MAX - time ? UINT64_MAX : time + span;
}

std::uint32_t held_by(const Books& books, SpaceId space) {
  return static_cast<std::uint32_t>(std::count_if(books.sessions.begin(), books.sessions.end(),
                                                  [&](const auto& entry) { return entry.second.space == space; }));
}

// The order in which sessions go.
auto rank(const Books& books, const Session& session) {
  const bool abandoned = session.space.value == 0;
  const bool beyond_claim =
      !abandoned && held_by(books, session.space) > books.spaces.at(session.space).limits.terms.claim;
  return std::tuple{!abandoned, session.asked_authority, !beyond_claim, session.last_use};
}

}  // namespace

FairShares::FairShares(const Books& books, const Chip& chip, std::span<const Waiter> waiters)
    : sessions_(chip.active_sessions) {
  for (const auto& [number, session] : books.sessions) ++parties_[session.owner].held;
  for (const Waiter& waiter : waiters) {
    auto& since = parties_[waiter.owner].waits_since;
    since = std::min(since.value_or(waiter.since), waiter.since);
  }
}

// More than sessions / owners.
bool FairShares::above(const Party& party) const {
  return std::uint64_t{party.held} * parties_.size() > sessions_;
}

bool FairShares::is_above(OwnerId owner) const {
  const auto party = parties_.find(owner);
  return party != parties_.end() && above(party->second);
}

bool FairShares::anybody_is_above() const {
  return std::any_of(parties_.begin(), parties_.end(), [this](const auto& entry) { return above(entry.second); });
}

std::optional<std::uint64_t> FairShares::others_wait_since(OwnerId owner) const {
  std::optional<std::uint64_t> out;
  for (const auto& [other, party] : parties_)
    if (other != owner && party.waits_since) out = std::min(out.value_or(UINT64_MAX), *party.waits_since);
  return out;
}

Taking session_to_take(const Books& books, const Chip& chip, std::span<const Waiter> waiters, std::uint64_t now) {
  const FairShares shares(books, chip, waiters);
  const bool somebody_is_above = shares.anybody_is_above();

  Taking out;
  const Session* victim = nullptr;
  for (const auto& [number, session] : books.sessions) {
    if (session.space == waiters.front().space) continue;
    std::uint64_t due = after(session.used_at, session.lease);
    if (shares.is_above(session.owner)) {
      if (const auto since = shares.others_wait_since(session.owner))
        due = std::min(due, after(*since, session.tenure));
    } else if (somebody_is_above) {
      continue;
    }
    if (due > now) {
      if (due != UINT64_MAX) out.at = std::min(out.at.value_or(due), due);
    } else if (victim == nullptr || rank(books, session) < rank(books, *victim)) {
      victim = &session;
      out.number = number;
    }
  }
  return out;
}

}  // namespace tpmspace::space
