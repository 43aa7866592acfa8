// What the pools of a space have left: quotas of a whole set of spaces.
//
// Idea: objects and octets are added up in the books; sessions are few, so they are counted. Only those count that stay
// in the TPM: what can be made again takes nothing from anybody. A session whose connection is gone counts for the
// pools that its space was in, until somebody takes it up or it is flushed, or its lease is over and the pool is full
// (space/reclaim.h). Nothing else outlives its connection.
// Threads: pure functions of the books. Units: sessions, objects, octets.
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
// The least that any of its pools has. What is loaded and has no context yet will have one: octets are kept for it.
[[nodiscard]] RoomInPools room_in_pools(const Books& books, const Chip& chip, SpaceId space);

// Of each pool that has no room for one more session of the space: how many must leave before it has.
[[nodiscard]] std::map<PoolId, std::uint32_t> sessions_beyond_pools(const Books& books, SpaceId space);

[[nodiscard]] bool counts_for(const Books& books, const Session& session, PoolId pool);

// Whether the space may take up that session, which is somewhere already: its pools have room, or have counted it.
[[nodiscard]] bool pools_admit(const Books& books, SpaceId space, const Session& session);

}  // namespace tpmspace::space
