// Who a space belongs to, as a plain number. The rooms that know what it stands for (a uid in a namespace)
// make it; the manager only compares. Threads: a value.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "books/view.h"
#include "wire/numbers.h"

namespace tpmspace::space {

struct OwnerId {
  std::uint64_t value = 0;
  auto operator<=>(const OwnerId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

struct SpaceId {
  std::uint64_t value = 0;
  auto operator<=>(const SpaceId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Within an owner: what one part has put away is not for another. Two plain numbers that others make, too. No part:
// zero.
struct Part {
  std::uint64_t user = 0;                         // of several who are one owner together
  std::uint64_t connection = 0;                   // one that wants nothing of its owner's any more
  auto operator<=>(const Part&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Who it is exactly: the owner pays, the part touches.
struct Holder {
  OwnerId owner;
  Part part;
  // He may know of what the other has: a user of what his secluded connections have, and nobody else of another's.
  [[nodiscard]] bool covers(const Holder& other) const {
    return owner == other.owner && part.user == other.part.user &&
           (part.connection == 0 || part.connection == other.part.connection);
  }
  auto operator<=>(const Holder&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// What happens when a space wants a session and may not have one now (docs/sessions.md).
enum class Exhaustion : std::uint8_t {
  kRefuse,   // SESSION_HANDLES at once
  kWait,     // until it may, at most until the deadline; nothing is taken from anybody
  kReclaim,  // the same, and sessions are taken from those who have too many, or do not use them
  kClose,    // at the deadline everything of the space is given up; it answers SESSION_HANDLES until it is closed
};

// On what terms a space has sessions. Units: sessions, nanoseconds.
struct SessionTerms {
  static constexpr std::uint64_t kSecond = 1'000'000'000;
  static constexpr std::uint64_t kEndless = UINT64_MAX;

  std::uint32_t claim = 3;                // the most it needs at once to finish anything: what one command can use
  std::uint64_t lease = 10 * kSecond;     // idle for so long, a session may be taken if somebody waits
  std::uint64_t tenure = 10 * kSecond;    // an owner above its fair share loses one after another waited so long
  std::uint64_t deadline = 30 * kSecond;  // so long it waits for a session itself
  Exhaustion exhaustion = Exhaustion::kReclaim;

  bool operator==(const SessionTerms&) const = default;
};

// A set of spaces that share a limit (a namespace, a class of clients), as a plain number. 0: none.
struct PoolId {
  std::uint64_t value = 0;
  auto operator<=>(const PoolId&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// What all spaces of a pool may hold together. Whatever is above it is refused at once, as by an exhausted TPM: nobody
// waits for a neighbour in a pool. Each space carries the limits that it is judged by.
struct Pool {
  PoolId id;
  // In the TPM, those whose connections are gone included. What can be made again takes nothing (space/session_book.h).
  std::uint32_t sessions = UINT32_MAX;
  std::uint32_t objects = UINT32_MAX;  // transient objects and sequences
  // Octets of saved contexts. A new object needs room for the longest one.
  std::uint64_t bytes = UINT64_MAX;

  bool operator==(const Pool&) const = default;
};
inline constexpr std::size_t kMaxPools = 3;

// What one space may hold, and see. Units: entities.
struct SpaceLimits {
  std::uint32_t objects = 1000;  // transient objects and sequences
  std::uint32_t sessions = 64;   // active ones, those it saved itself included
  SessionTerms terms = {};
  // What it saves for later is for spaces of the same part alone, and theirs for it.
  Part part = {};
  // What is kept for administrators in a shared room (books/shared_room.h) is for this space, too.
  bool administers = false;
  // Its wrong authorizations count for its owner's share, and it is stopped when that is used up; false: it may lock
  // the TPM for all (who administers lockout may).
  bool shares_tries = false;
  // Owners that the client may be, if its identity is in doubt. Its wrong authorizations count for their shares as
  // well, and it needs tries left in each: an unidentified client gets no second share.
  std::vector<OwnerId> may_be = {};
  // Of the TPM's time, where several want it at once: a weight, and who goes first (queue/fair_queue.h).
  std::uint32_t share = 100;
  std::uint8_t priority = 1;
  std::array<Pool, kMaxPools> pools = {};  // different ones
  std::shared_ptr<const View> view = {};   // null: everything, as the chip has it
  // PIN Fail indices whose authorization it may try; null: all. Those that are none need not be in it.
  std::shared_ptr<const wire::Numbers> pins = {};
};

}  // namespace tpmspace::space
