#include "space/pools.h"

#include <algorithm>

namespace tpmspace::space {

namespace {

template <typename Number>
Number left_of(Number limit, Number held) {
  return limit > held ? limit - held : 0;
}

bool is_in(const Books& books, SpaceId id, PoolId pool) {
  const Space* space = find_space(books, id);
  if (!TPMSPACE_HOLDS(space != nullptr)) return false;
  const auto& pools = space->limits.pools;
  return std::any_of(pools.begin(), pools.end(), [&](const Pool& one) { return one.id == pool; });
}

std::uint32_t sessions_of(const Books& books, PoolId pool) {
  std::uint32_t out = 0;
  for (const auto& [number, session] : books.sessions) out += counts_for(books, session, pool) ? 1U : 0U;
  return out;
}

std::uint64_t bytes_to_come(const Books& books, const Chip& chip, PoolId pool) {
  std::uint64_t out = 0;
  for (const Slot& slot : books.slots) {
    if (slot.space.value == 0 || !is_in(books, slot.space, pool)) continue;
    const Object* object = object_in(books, slot);
    if (object != nullptr && object->context.empty()) out += chip.max_response;
  }
  return out;
}

}  // namespace

bool counts_for(const Books& books, const Session& session, PoolId pool) {
  if (session.can_be_made_again()) return false;
  if (session.space.value != 0) return is_in(books, session.space, pool);
  return std::find(session.left_pools.begin(), session.left_pools.end(), pool) != session.left_pools.end();
}

RoomInPools room_in_pools(const Books& books, const Chip& chip, SpaceId space) {
  RoomInPools out;
  for (const Pool& pool : space_of(books, space).limits.pools) {
    if (pool.id.value == 0) continue;
    const auto sum = books.pools.find(pool.id);
    if (!TPMSPACE_HOLDS(sum != books.pools.end())) return {.sessions = 0, .objects = 0, .bytes = 0};
    const Holding& held = sum->second;
    out.sessions = std::min(out.sessions, left_of(pool.sessions, sessions_of(books, pool.id)));
    out.objects = std::min(out.objects, left_of(pool.objects, held.objects));
    out.bytes = std::min(out.bytes, left_of(pool.bytes, held.bytes + bytes_to_come(books, chip, pool.id)));
  }
  return out;
}

std::map<PoolId, std::uint32_t> sessions_beyond_pools(const Books& books, SpaceId space) {
  std::map<PoolId, std::uint32_t> out;
  for (const Pool& pool : space_of(books, space).limits.pools) {
    if (pool.id.value == 0) continue;
    const std::uint32_t held = sessions_of(books, pool.id);
    if (held >= pool.sessions) out.emplace(pool.id, held - pool.sessions + 1);
  }
  return out;
}

bool pools_admit(const Books& books, SpaceId space, const Session& session) {
  if (session.can_be_made_again()) return true;
  const auto& pools = space_of(books, space).limits.pools;
  return std::all_of(pools.begin(), pools.end(), [&](const Pool& pool) {
    return pool.id.value == 0 || counts_for(books, session, pool.id) || sessions_of(books, pool.id) < pool.sessions;
  });
}

}  // namespace tpmspace::space
