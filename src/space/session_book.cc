#include "space/session_book.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace tpmspace::space {

using wire::Rc;
namespace rc = wire::rc;

// --- one more

// Unwanted ones are as good as free: they are flushed before anybody waits.
Bank SessionBook::bank() const {
  Bank out(chip_.active_sessions);
  for (const auto& [space, count] : sessions_by_space(books_)) {
    if (space.value == 0)
      out.add_lost(count);
    else
      out.add_holder(count, books_.spaces.at(space).limits.terms.claim);
  }
  return out;
}

SessionBook::Admission SessionBook::admission(SpaceId id) const {
  const Space& space = books_.spaces.at(id);
  const auto by_space = sessions_by_space(books_);
  const auto found = by_space.find(id);
  const std::uint32_t held = found == by_space.end() ? 0 : found->second;
  if (space.given_up || held >= space.limits.sessions) return Admission::kNever;
  return bank().admits(held, space.limits.terms.claim) ? Admission::kNow : Admission::kNotNow;
}

bool SessionBook::must_not_get(SpaceId id, std::uint32_t number) const {
  return books_.spaces.at(id).tombstones.count(number) != 0;
}

std::optional<std::uint32_t> SessionBook::lowest_free_number(const std::set<std::uint32_t>& of_others) const {
  for (std::uint32_t number = 0; number < chip_.session_numbers; ++number) {
    if (of_others.count(number) != 0) continue;
    const bool unwanted =
        std::any_of(books_.unwanted_sessions.begin(), books_.unwanted_sessions.end(),
                    [&](const UnwantedSession& session) { return wire::number_of(session.handle) == number; });
    if (books_.sessions.count(number) == 0 && !unwanted) return number;
  }
  return std::nullopt;
}

Rc SessionBook::clear_the_way(SpaceId id) {
  Space& space = books_.spaces.at(id);
  const auto active = [this] { return books_.sessions.size() + books_.unwanted_sessions.size(); };
  while (active() >= chip_.active_sessions)
    if (!residency_.flush_unwanted_session()) return rc::kSessionHandles;
  // 3N + 1 commands where N numbers are in the way (TPM-RULES 24). Numbers that the TPM passes over are other
  // programs'.
  std::set<std::uint32_t> of_others;
  for (;;) {
    const auto next = lowest_free_number(of_others);
    if (!next) return rc::kSessionHandles;
    if (!must_not_get(id, *next)) return rc::kSuccess;
    if (active() + 1 >= chip_.active_sessions) {
      // The last free one is in the way. If the client was told that its session is gone, the number may be used.
      const auto stone = space.tombstones.find(*next);
      if (!stone->second.told) return rc::kSessionHandles;
      space.tombstones.erase(stone);
      return rc::kSuccess;
    }
    const auto filler = residency_.add_filler();
    if (!filler) return filler.error();
    if (*filler != *next) of_others.insert(*next);
    // What the client may have would do as well: it is given back, and is the lowest one again.
    if (*filler != *next && !must_not_get(id, *filler)) {
      (void)residency_.flush_unwanted_session_of(*filler);
      return rc::kSuccess;
    }
  }
}

bool SessionBook::book_started(SpaceId id, std::uint32_t handle, SessionKind kind) {
  const std::uint32_t number = wire::number_of(handle);
  std::erase_if(books_.unwanted_sessions, [&](const auto& u) { return wire::number_of(u.handle) == number; });
  const Space& space = books_.spaces.at(id);
  const bool taken = books_.sessions.erase(number) != 0;
  // Whose session it is now nobody can say, so it is nobody's, and the TPM will be asked what it holds.
  if (taken) port_.cost().distrusted = true;
  if (taken || must_not_get(id, number)) {
    books_.unwanted_sessions.push_back(UnwantedSession{handle, true, 0});
    return false;
  }
  Session session;
  session.handle = handle;
  session.kind = kind;
  session.owner = space.owner;
  session.space = id;
  session.last_use = books_.tick;
  session.started_at = session.used_at = port_.now();
  session.lease = space.limits.terms.lease;
  session.tenure = space.limits.terms.tenure;
  books_.sessions.insert_or_assign(number, std::move(session));
  return true;
}

// --- one less

void SessionBook::leave(SpaceId space) {
  std::vector<std::uint32_t> ended;
  for (auto& [number, session] : books_.sessions) {
    if (session.space != space) continue;
    if (session.client_saved)
      session.space = SpaceId{};
    else
      ended.push_back(number);
  }
  for (const auto number : ended) drop(number);
  enforce_abandoned_limits();
}

// Each owner's at most so many, and all together at most half of what the chip has: then whoever left the most behind
// loses the oldest.
void SessionBook::enforce_abandoned_limits() {
  std::map<OwnerId, std::map<std::uint64_t, std::uint32_t>> abandoned;  // numbers by when they were used last
  std::size_t all = 0;
  for (const auto& [number, session] : books_.sessions) {
    if (session.space.value != 0) continue;
    abandoned[session.owner].emplace(session.last_use, number);
    ++all;
  }
  const auto drop_oldest = [&](std::map<std::uint64_t, std::uint32_t>& of_owner) {
    drop(of_owner.begin()->second);
    of_owner.erase(of_owner.begin());
    --all;
  };
  for (auto& [owner, sessions] : abandoned)
    while (sessions.size() > quota_.abandoned_sessions_per_owner) drop_oldest(sessions);
  while (all > chip_.active_sessions / 2) {
    const auto most = std::max_element(abandoned.begin(), abandoned.end(), [](const auto& one, const auto& other) {
      if (one.second.size() != other.second.size()) return one.second.size() < other.second.size();
      return !one.second.empty() && one.second.begin()->first > other.second.begin()->first;
    });
    drop_oldest(most->second);
  }
}

void SessionBook::take(std::uint32_t number) {
  const Session session = books_.sessions.at(number);
  port_.cost().reclaimed.push_back({session.owner.value, session.space.value, session.handle});
  if (session.space.value != 0) {
    Space& space = books_.spaces.at(session.space);
    if (space.tombstones.size() >= kMaxTombstones) retire_tombstone(space);
    space.tombstones[number] = Tombstone{++books_.reclaims, false};
  }
  residency_.flush_session(number, wire::Cause::kReclaim);
}

void SessionBook::give_up(SpaceId id) {
  std::vector<std::uint32_t> all;
  for (const auto& [number, session] : books_.sessions)
    if (session.space == id) all.push_back(number);
  for (const auto number : all) drop(number);
  Space& space = books_.spaces.at(id);
  while (!space.objects.empty()) residency_.drop_object(id, wire::ClientHandle{space.objects.begin()->first});
  space.given_up = true;
}

// --- tombstones

// The oldest of those whose client was told.
bool SessionBook::retire_tombstone(Space& space) {
  auto oldest = space.tombstones.end();
  for (auto it = space.tombstones.begin(); it != space.tombstones.end(); ++it)
    if (it->second.told && (oldest == space.tombstones.end() || it->second.order < oldest->second.order)) oldest = it;
  if (oldest == space.tombstones.end()) return false;
  space.tombstones.erase(oldest);
  return true;
}

void SessionBook::tell(SpaceId space, std::uint32_t handle) {
  auto& stones = books_.spaces.at(space).tombstones;
  if (const auto it = stones.find(wire::number_of(handle)); it != stones.end()) it->second.told = true;
}

}  // namespace tpmspace::space
