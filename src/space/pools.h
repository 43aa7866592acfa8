// The room left in the pools of a space: quotas of a whole set of spaces.
//
// Idea: the books add up objects and bytes; the few sessions are counted on demand. Only sessions that stay in the TPM
// count, since rebuildable sessions take nothing from other clients. A session whose connection is closed counts for
// the pools of its former space until another space loads the session, the session is flushed, or its lease is over and
// the pool is full (space/reclaim.h). All other entities end with the connection.
// Threads: pure functions of the books. Units: sessions, objects, bytes.
#pragma once

#include <cstdint>
#include <map>

#include "books/books.h"
#include "books/chip.h"

namespace tpmspace::space {

struct RoomInPools {
  std::uint32_t sessions = UINT32_MAX, objects = UINT32_MAX;
  std::uint64_t bytes = UINT64_MAX;
};
// The least room of all pools of the space. Bytes are kept for loaded objects without a context.
[[nodiscard]] RoomInPools room_in_pools(const Books& books, const Chip& chip, SpaceId space);

// For each pool without room for one more session of the space: how many sessions must leave to make room.
[[nodiscard]] std::map<PoolId, std::uint32_t> sessions_beyond_pools(const Books& books, SpaceId space);

[[nodiscard]] bool counts_for(const Books& books, const Session& session, PoolId pool);

// Whether the pools of the space admit an existing session: each pool has room or already counts the session.
[[nodiscard]] bool pools_admit(const Books& books, SpaceId space, const Session& session);

}  // namespace tpmspace::space
