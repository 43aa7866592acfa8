// The books: the manager's whole knowledge, as one value to save and restore between any two TPM commands.
//
// Idea: the books change only after the TPM has confirmed a change, so an entity is loaded exactly if the books say so.
// Objects are added, changed and erased only by the functions below, which keep the sums for each owner correct.
// Threads: a value.
// Units: contexts in bytes; `last_use` in ticks (one for each client command); times and spans in nanoseconds of the
// manager's clock.
// Limits: SpaceLimits for each space, `Quota` for all spaces together; `check` proves the rules below.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/invariant.h"
#include "base/limits.h"
#include "books/chip.h"
#include "books/context.h"
#include "books/kept_places.h"
#include "books/owner.h"
#include "books/policy_log.h"
#include "books/shared_room.h"
#include "wire/bytes.h"
#include "wire/handle.h"
#include "wire/session_terms.h"

namespace tpmspace::space {

// Whether the chip counts wrong authorizations of an object or NV index (TPMA_OBJECT noDA, TPMA_NV_NO_DA clear).
enum class CountsMisses : std::uint8_t { kUnknown = 0, kNo = 1, kYes = 2 };

// A transient object or a sequence of one space. `Books::slots` tells whether the TPM has the object loaded.
struct Object {
  bool sequence = false;
  // The object's state as the TPM would load it. Empty: no valid copy exists, so the object is in a slot. The copy of
  // an ordinary object stays valid for the object's life, the copy of a sequence only until the next use
  // (docs/tpm-behaviour.md 14).
  wire::Bytes context;
  std::uint64_t last_use = 0;  // only `touch_object` changes the value
  std::uint64_t used_at = 0;
  CountsMisses counts_misses = CountsMisses::kUnknown;  // constant while the object lives
  std::uint64_t seen_at = 0;                            // when the TPM last showed the object or a valid context
  // Which of the client's commands made the object, counted from 1. 0: the space began with the object
  // (space/inheritance.h).
  std::uint64_t made_by = 0;
  // The same object in several spaces, each with a copy of the context: one slot serves all copies. 0: no other space
  // has the object.
  std::uint64_t twin = 0;
};

// A taken object slot of the TPM, held by tpmspace.
struct Slot {
  wire::TpmHandle tpm;
  SpaceId space;              // 0: no space uses the slot; flushed in idle time, or when the slot is needed
  wire::ClientHandle object;  // in that space
  OwnerId left_by = {};       // with `space` 0: the owner that pays for the flush; 0: unknown
};

using wire::SessionKind;

// An active session in the TPM, or a session that has left the TPM and can be rebuilt (parked).
struct Session {
  std::uint32_t handle = 0;  // the TPM's handle; of a parked session, the handle before parking
  // The client's handle. The number equals the TPM's (docs/tpm-behaviour.md 7), unless the session was rebuilt or came
  // into a space with another session of the same number.
  wire::ClientHandle client;
  SessionKind kind = SessionKind::kHmac;
  OwnerId owner;
  Part part;      // of the space that had the session last
  SpaceId space;  // where the session may be used; 0: the connection is closed (client-saved sessions only)
  // The client saved the session: no space may use the session until the owner loads the client's copy. `client_copy`
  // is the digest of the copy.
  bool client_saved = false;
  ContextDigest client_copy{};
  wire::Bytes context;         // the TPM's newest context of the session; empty: the session is loaded
  std::uint64_t sequence = 0;  // of `context`: orders saved sessions for the context gap
  std::uint64_t last_use = 0;
  std::uint64_t started_at = 0, used_at = 0;
  std::uint64_t seen_at = 0;  // as in Object
  // After the space is closed: the pools in which the session still counts.
  std::array<PoolId, kMaxPools> left_pools = {};
  // The terms of the session; they also hold after the space is closed.
  std::uint64_t lease = SessionTerms{}.lease, tenure = SessionTerms{}.tenure;
  // When the session was given to an owner that had waited in the queue; 0: no owner waited for the session.
  std::uint64_t served_at = 0;
  // An authority outside the TPM took part (PolicySigned, PolicySecret, PolicyTicket): reclaimed last.
  bool asked_authority = false;
  // The bind entity counts misses, or may do so: a wrong HMAC in any use then counts (docs/tpm-behaviour.md 34).
  bool bound_to_what_counts = false;
  // Neither reclaimed nor moved: the session stays loaded.
  bool reserved = false;
  // A queued command needs the session, so the session leaves the TPM last. Not part of an image.
  bool awaited = false;
  // Nonce-stale: rebuilt, and the client does not have the new nonce yet (docs/tpm-behaviour.md 30).
  bool stale = false;
  wire::Bytes nonce;  // nonceTPM as the client knows it; empty: unknown to the manager
  PolicyLog log;

  [[nodiscard]] bool loaded() const { return context.empty(); }
  // A rebuildable session can leave the TPM at any time and blocks no client; the bank gives all other sessions.
  [[nodiscard]] bool can_be_made_again() const { return !reserved && log.can_be_made_again(); }
  // The bank gave the session, and the session may be reclaimed.
  [[nodiscard]] bool is_ordinary() const { return !can_be_made_again() && !reserved; }
};

// A session that was reclaimed from a space. The number has no other meaning in the space until the client has flushed
// the handle: an uninformed client must not use a different session under the old handle.
struct Tombstone {
  std::uint64_t order = 0;  // the oldest are removed first
  bool told = false;        // the client has used the handle since, and got an error
};

struct Space {
  OwnerId owner;
  SpaceLimits limits;
  std::map<std::uint32_t, Object> objects;  // by the client's handle
  // Handles of objects that were dropped to make room for another owner's object. Each handle stays reserved until the
  // client has used the handle or flushed the object.
  std::set<std::uint32_t> taken_objects;
  std::map<std::uint32_t, Tombstone> tombstones;  // by number
  bool given_up = false;                          // Exhaustion::kClose: the space answers SESSION_HANDLES until closed
};

inline constexpr std::size_t kMaxNonce = 64;  // the largest digest (Part 2, 10.4.3)

// The most tombstones per space whose clients have been told.
inline constexpr std::size_t kMaxTombstones = 16;

// The sums of all spaces, or of the spaces of one pool.
struct Holding {
  std::uint32_t spaces = 0;
  std::uint32_t objects = 0;
  std::uint64_t bytes = 0;  // of their contexts

  auto operator<=>(const Holding&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Limits for all spaces together.
struct Quota {
  std::uint64_t context_bytes = limits::kBytes;  // of objects; books/shared_room.h divides the bytes among owners
  std::uint32_t abandoned_sessions_per_owner =
      limits::kClientSavedSessions;  // client-saved, connection closed; in all: half of the chip's sessions
  std::uint32_t parked_sessions_per_owner = 4096;
  std::uint32_t abandoned_parked_per_owner = 256;
  std::uint64_t log_bytes = 32ULL << 20;  // of parked sessions; divided in the same way
};

// Parked sessions of one owner, or of all owners.
struct ParkedSum {
  std::uint32_t sessions = 0;
  std::uint64_t bytes = 0;

  bool operator==(const ParkedSum&) const = default;
};

// The key of a parked session that the client may use: the space and the client's number.
struct ParkedKey {
  SpaceId space;
  std::uint32_t number = 0;
  auto operator<=>(const ParkedKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// The key for a search of the parked sessions' files of one owner and space: owner, space (0: the connection is
// closed), last use.
struct FileKey {
  OwnerId owner;
  SpaceId space;
  std::uint64_t last_use = 0;
  ContextDigest copy{};
  auto operator<=>(const FileKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// An active session without a space; flushed in idle time, or when the number or the slot is needed.
struct UnwantedSession {
  std::uint32_t handle = 0;
  bool loaded = false;
  std::uint64_t sequence = 0;  // of the saved context, which counts for the context gap
  OwnerId left_by = {};        // the owner that pays for the flush; 0: unknown
};

// The key for the longest idle object of a payer.
struct ObjectKey {
  Payer payer;
  std::uint64_t last_use = 0;
  SpaceId space;
  std::uint32_t handle = 0;
  auto operator<=>(const ObjectKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

struct Books {
  std::map<SpaceId, Space> spaces;
  std::set<std::pair<OwnerId, SpaceId>> spaces_by_owner;  // follows from `spaces`
  Holding held;                                           // of all spaces; follows from `spaces`
  SharedRoom contexts{ShareRule{}};                       // context bytes by payer; follows from `spaces`
  std::set<ObjectKey> objects_by_use;                     // follows from `spaces`
  std::map<PoolId, Holding> pools;                        // of pools with a space; follows from `spaces`
  std::map<std::uint32_t, Session> sessions;              // in the TPM, by the TPM's number
  KeptPlaces kept_places;  // not part of an image: after a restart an owner waits once more
  std::map<ParkedKey, Session> parked;
  std::map<ContextDigest, Session> parked_files;  // client-saved sessions, by the digest of the client's copy
  std::map<OwnerId, std::uint32_t>
      parked_by_owner;                   // counts; follow from `parked` and `parked_files`; no count is zero
  SharedRoom parked_bytes{ShareRule{}};  // follows from `parked` and `parked_files`
  ParkedSum parked_in_all;
  std::set<FileKey> files_by_owner;  // follows from `parked_files`
  std::vector<Slot> slots;           // at most Chip::object_slots
  std::vector<UnwantedSession> unwanted_sessions;
  std::uint64_t tick = 0;
  std::uint64_t last_space = 0;
  std::uint64_t newest_sequence = 0;  // the highest of all session contexts that the TPM made
  std::uint64_t reclaims = 0;         // orders tombstones
  std::uint64_t last_token = 0;       // of the contexts by which clients know parked sessions
  std::uint64_t last_twin = 0;
  std::uint32_t reset_count = 0, restart_count = 0;  // of the TPM, when last read
  std::uint64_t counters_read_at = 0;
  // The TPM gave an invalid answer, or another program may have sent Startup; the books were not compared with the TPM
  // since.
  bool in_doubt = false;
  // When a TPM Reset was last noticed. An entity that was saved and not seen since may be from before the reset.
  std::uint64_t doubted_at = 0;
};

// Opens and closes a space. The caller flushes the space's entities in the TPM.
SpaceId open_space(Books& books, OwnerId owner, const SpaceLimits& limits);
void erase_space(Books& books, SpaceId space);
// Adds a complete space from an image. False: a space with that id exists.
bool adopt_space(Books& books, SpaceId id, Space space);
// The space may leave pools, and may join other pools of any size.
void set_limits(Books& books, SpaceId space, const SpaceLimits& limits);

// False: the space has an object under the handle already.
bool add_object(Books& books, SpaceId space, wire::ClientHandle handle, Object object);
void erase_object(Books& books, SpaceId space, wire::ClientHandle handle);  // no effect if the object does not exist
// False: the space does not have the object.
bool set_context(Books& books, SpaceId space, wire::ClientHandle handle, wire::Bytes context);
// Notes that the current command uses the object at the time `now`. False: the space does not have the object.
bool touch_object(Books& books, SpaceId space, wire::ClientHandle handle, std::uint64_t now);
// The slots of the space, or of the one object, lose their space; the space's owner pays for the flush.
void leave_slots(Books& books, SpaceId space, std::optional<wire::ClientHandle> object = std::nullopt);
[[nodiscard]] Payer payer_of(const Space& space);
// Judges the sums by these rules from now on.
void set_rules(Books& books, const ShareRule& contexts, const ShareRule& parked_bytes);
// `gone(space id, handle, object)`.
template <typename Gone>
void erase_objects_if(Books& books, Gone gone) {
  for (auto& [id, space] : books.spaces)
    for (auto it = space.objects.begin(); it != space.objects.end();) {
      const auto here = it++;
      const wire::ClientHandle handle{here->first};
      if (gone(id, handle, here->second)) erase_object(books, id, handle);
    }
}

// Whether the TPM may refuse to load the context of `saved`, because a reset possibly came after the context was made.
// For an entity that is not loaded.
template <typename T>
[[nodiscard]] bool is_doubtful(const Books& books, const T& saved) {
  return saved.seen_at < books.doubted_at;
}

// --- Lookups. Null: no such entity.
[[nodiscard]] Space* find_space(Books& books, SpaceId space);
[[nodiscard]] const Space* find_space(const Books& books, SpaceId space);
[[nodiscard]] Object* find_object(Books& books, SpaceId space, wire::ClientHandle handle);
[[nodiscard]] const Object* find_object(const Books& books, SpaceId space, wire::ClientHandle handle);
// The object in a slot. Null: the slot is unwanted. (A slot with an object that no space has is a broken invariant.)
[[nodiscard]] Object* object_in(Books& books, const Slot& slot);
[[nodiscard]] const Object* object_in(const Books& books, const Slot& slot);
// A session in the TPM, by the TPM's number.
[[nodiscard]] Session* find_session(Books& books, std::uint32_t number);
[[nodiscard]] const Session* find_session(const Books& books, std::uint32_t number);
// An open space. The process ends if the space is not open: a command would run for no client. Every entry of the
// manager checks its space first, and no command closes a space.
[[nodiscard]] Space& space_of(Books& books, SpaceId space);
[[nodiscard]] const Space& space_of(const Books& books, SpaceId space);

// The slot of an object; null: the object is not loaded.
[[nodiscard]] const Slot* slot_of(const Books& books, SpaceId space, wire::ClientHandle object);
// The slot of a twin of the object; null: no twin is loaded.
[[nodiscard]] Slot* slot_of_twin(Books& books, SpaceId space, wire::ClientHandle object);
[[nodiscard]] const Slot* slot_of_twin(const Books& books, SpaceId space, wire::ClientHandle object);
// The session in the TPM that the client knows by the number of `handle`, if the space may use the session now. The
// type byte of `handle` may be that of the other type of session. Null: none, or not the handle of a session (the
// handle of a password authorization has the number 9).
[[nodiscard]] Session* usable_session(Books& books, SpaceId space, std::uint32_t handle);
[[nodiscard]] const Session* usable_session(const Books& books, SpaceId space, std::uint32_t handle);
// The same for parked sessions.
[[nodiscard]] Session* parked_session(Books& books, SpaceId space, std::uint32_t handle);
[[nodiscard]] const Session* parked_session(const Books& books, SpaceId space, std::uint32_t handle);
// The same for both.
[[nodiscard]] Session* known_session(Books& books, SpaceId space, std::uint32_t handle);
[[nodiscard]] const Session* known_session(const Books& books, SpaceId space, std::uint32_t handle);
[[nodiscard]] std::uint32_t loaded_sessions(const Books& books);  // unwanted ones included
[[nodiscard]] Holder holder_of(const Books& books, SpaceId space);
// Whether the space may load a saved session: both have the same owner and part.
[[nodiscard]] inline bool may_take_up(const Space& space, const Session& session) {
  return Holder{session.owner, session.part} == Holder{space.owner, space.limits.part};
}
// Leaves a tombstone in the space of the session, if any: the number gets no new meaning there.
void add_tombstone(Books& books, const Session& session);
// The same for a number of another space's session, if the space's client may know the number.
void add_tombstone(Books& books, SpaceId space, std::uint32_t number);

// Whether the number is already in use in the space: by a session, by a file of the space's client, or by a tombstone.
[[nodiscard]] bool is_taken_in(const Books& books, SpaceId space, std::uint32_t number);

// How many sessions that cannot be rebuilt each space has, without reserved sessions. Key 0: sessions without a space.
[[nodiscard]] std::map<SpaceId, std::uint32_t> ordinary_sessions_by_space(const Books& books);
// All sessions that the space's clients may use or have saved.
[[nodiscard]] std::uint32_t sessions_of_space(const Books& books, SpaceId space);

// The size of a parked session in bytes.
[[nodiscard]] std::uint64_t size_of_parked(const Session& session);
// Adds a session that has left the TPM; `client_saved` decides where. False: the key is taken, so the session is gone.
bool add_parked(Books& books, Session session);
// Removes and returns a parked session. Nullopt: no such session.
std::optional<Session> take_parked(Books& books, const ParkedKey& key);
std::optional<Session> take_parked_file(Books& books, const ContextDigest& copy);
void drop_parked_of(Books& books, SpaceId space);  // only sessions that the space's clients may use
// For a space that closes: the files of parked sessions stay for the owner's other spaces.
void abandon_parked_files(Books& books, SpaceId space);
// Calls `each(const Session&)` for each parked session of the owner that the client saved in that space (0: the
// connection is closed), the longest idle first. `each` must not change the books.
template <typename Each>
void for_each_file(const Books& books, OwnerId owner, SpaceId space, Each each) {
  const FileKey first{owner, space, 0, {}};
  for (auto it = books.files_by_owner.lower_bound(first);
       it != books.files_by_owner.end() && it->owner == owner && it->space == space; ++it)
    if (const auto file = books.parked_files.find(it->copy); TPMSPACE_HOLDS(file != books.parked_files.end()))
      each(file->second);
}
// The same for all files of the owner, in any space.
template <typename Each>
void for_each_file(const Books& books, OwnerId owner, Each each) {
  const FileKey first{owner, {}, 0, {}};
  for (auto it = books.files_by_owner.lower_bound(first); it != books.files_by_owner.end() && it->owner == owner; ++it)
    if (const auto file = books.parked_files.find(it->copy); TPMSPACE_HOLDS(file != books.parked_files.end()))
      each(file->second);
}
void forget_parked(Books& books);
// Removes a lost session (gone without the client's command), and leaves a tombstone. False: no session has the number.
bool lose_session(Books& books, std::uint32_t number);
// Appends a session to the unwanted sessions. False: no session has that number.
bool make_unwanted(Books& books, std::uint32_t number);

// Takes all entities from an open space (Exhaustion::kClose): the space answers SESSION_HANDLES until closed. Files of
// parked sessions stay.
void empty_space(Books& books, SpaceId space);

// Makes all sums and indices anew from what they follow from. Walks over all entities.
void add_up(Books& books);
// The same, and removes what refers to no open space: only after a broken invariant (space/recovery.h).
void make_consistent(Books& books);

// Checks all rules of the books. Nullopt: all hold. Otherwise a sentence that names the broken rule.
[[nodiscard]] std::optional<std::string> check(const Books& books, const Chip& chip);

[[nodiscard]] wire::Bytes encode(const Books& books);
// Nullopt: not a complete image of this version. No value in the image is trusted.
[[nodiscard]] std::optional<Books> decode(wire::ByteView image);

}  // namespace tpmspace::space
