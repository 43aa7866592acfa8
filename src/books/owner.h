// The identity of a space's owner, as a plain number. Other rooms make the number and know its meaning (a uid in a
// namespace); the manager only compares numbers. Threads: a value.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/limits.h"
#include "books/view.h"
#include "wire/numbers.h"
#include "wire/session_terms.h"

namespace tpmspace::space {

struct OwnerId {
  std::uint64_t value = 0;
  auto operator<=>(const OwnerId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

struct SpaceId {
  std::uint64_t value = 0;
  auto operator<=>(const SpaceId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// A division of an owner: a part cannot load another part's saved sessions. Both plain numbers are made by other rooms.
// Zero: no part.
struct Part {
  std::uint64_t user = 0;                         // one of several users of a shared owner
  std::uint64_t connection = 0;                   // a connection secluded from the rest of the owner
  auto operator<=>(const Part&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// The exact identity: the owner is charged, the part has access.
struct Holder {
  OwnerId owner;
  Part part;
  // Whether this holder may know the other holder's entities: a user sees the entities of the user's own secluded
  // connections, and none of other users.
  [[nodiscard]] bool covers(const Holder& other) const {
    return owner == other.owner && part.user == other.part.user &&
           (part.connection == 0 || part.connection == other.part.connection);
  }
  auto operator<=>(const Holder&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

using wire::Exhaustion;
using wire::SessionTerms;

// A set of spaces that share a limit (a namespace, a class of clients), as a plain number. 0: none.
struct PoolId {
  std::uint64_t value = 0;
  auto operator<=>(const PoolId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// The limits of all spaces of a pool together. A request above the limit is refused at once, as by an exhausted TPM:
// clients never wait for another space of the pool. Each space carries its limits.
struct Pool {
  PoolId id;
  // In the TPM, sessions with closed connections included. Rebuildable sessions do not count (space/session_book.h).
  std::uint32_t sessions = UINT32_MAX;
  std::uint32_t objects = UINT32_MAX;  // transient objects and sequences
  // Bytes of saved contexts. A new object needs room for the longest context.
  std::uint64_t bytes = UINT64_MAX;

  bool operator==(const Pool&) const = default;
};
inline constexpr std::size_t kMaxPools = 3;

// The limits and the view of one space. Units: entities.
struct SpaceLimits {
  std::uint32_t objects = limits::kObjects;    // transient objects and sequences
  std::uint32_t sessions = limits::kSessions;  // active sessions, client-saved ones included
  SessionTerms terms = {};
  // Sessions that the space saves can be loaded only by spaces of the same part.
  Part part = {};
  // The space may use the room that is kept for administrators (books/shared_room.h).
  bool administers = false;
  // Wrong authorizations count for the owner's share, and when the share is used up, the space is stopped. False: the
  // space may lock the TPM for all (a space that administers lockout may do so).
  bool shares_tries = false;
  // The owners that the client may be, if the client's identity is in doubt. Wrong authorizations also count for the
  // shares of these owners, and each must have tries left: an unidentified client gets no second share.
  std::vector<OwnerId> may_be = {};
  // Use of the TPM's time when several owners want the TPM at once: weight and precedence (queue/fair_queue.h).
  std::uint32_t share = 100;
  std::uint8_t priority = 1;
  std::array<Pool, kMaxPools> pools = {};  // all different
  std::shared_ptr<const View> view = {};   // null: everything, as the chip has it
  // PIN Fail indices whose authorization the space may try; null: all. Other indices need not be listed.
  std::shared_ptr<const wire::Numbers> pins = {};
};

}  // namespace tpmspace::space
