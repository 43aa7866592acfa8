// The books: everything the manager knows, as one value that can be saved and restored between any two TPM commands.
//
// Idea: what the books say is loaded is loaded. They are written only after the TPM confirmed.
// Objects come, change and go through the functions below, so that what each owner holds is always added up.
// Threads: a value. Units: contexts in octets; `last_use` in ticks (one for each client command); times and spans in
// nanoseconds of the manager's clock.
// Limits: SpaceLimits for each space, `Quota` for all together; `check` proves the rules below.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "books/chip.h"
#include "books/context.h"
#include "books/kept_places.h"
#include "books/owner.h"
#include "books/policy_log.h"
#include "books/shared_room.h"
#include "wire/bytes.h"
#include "wire/handle.h"

namespace tpmspace::space {

// Whether the chip counts wrong authorizations of something (TPMA_OBJECT noDA, TPMA_NV_NO_DA clear).
enum class CountsMisses : std::uint8_t { kUnknown = 0, kNo = 1, kYes = 2 };

// A transient object or a sequence of one space. Whether it is in the TPM, the slots say.
struct Object {
  bool sequence = false;
  // Its state as the TPM would load it; empty: there is no valid copy, so it is in a slot. An ordinary object's copy
  // stays valid for its life; a sequence's only until its next use (TPM-RULES 14).
  wire::Bytes context;
  std::uint64_t last_use = 0;  // `touch_object` changes it
  std::uint64_t used_at = 0;
  CountsMisses counts_misses = CountsMisses::kUnknown;  // it does not change while the object lives
  std::uint64_t seen_at = 0;  // when the TPM last showed that it has it, or that its context is good
  // Which of its client's commands made it, counted from 1; 0: the space began with it (space/inheritance.h).
  std::uint64_t made_by = 0;
  // The same object in several spaces, each with a copy of the context: one slot serves them all. 0: it is in one only.
  std::uint64_t twin = 0;
};

// One of the TPM's object slots that is taken by us.
struct Slot {
  wire::TpmHandle tpm;
  SpaceId space;              // 0: nobody's any more; flushed in idle time, or when the room is needed
  wire::ClientHandle object;  // in that space
  OwnerId left_by = {};       // of what is nobody's: who pays for its flush; 0: nobody is known to
};

enum class SessionKind : std::uint8_t { kHmac = 0, kPolicy = 1, kTrial = 3 };  // TPM_SE (Part 2, 6.11)

// An active session in the TPM, or one that has left it and can be made again (parked).
struct Session {
  std::uint32_t handle = 0;  // the TPM's; of a parked one, that which it had
  // What its client knows it by: the same number (TPM-RULES 7), but for one that was made again, or that came into a
  // space which knew another one by that number.
  wire::ClientHandle client;
  SessionKind kind = SessionKind::kHmac;
  OwnerId owner;
  Part part;      // of the space that had it last
  SpaceId space;  // where it may be used; 0: its connection is gone (client-saved only)
  // Put away by its client: nobody may use it until the owner loads the copy that the client holds, known by its
  // digest.
  bool client_saved = false;
  ContextDigest client_copy{};
  wire::Bytes context;         // the TPM's newest context of it; empty: it is loaded
  std::uint64_t sequence = 0;  // of `context`: orders saved sessions for the context gap
  std::uint64_t last_use = 0;
  std::uint64_t started_at = 0, used_at = 0;
  std::uint64_t seen_at = 0;  // as of objects
  // Of one whose space is gone: the pools that it still counts for.
  std::array<PoolId, kMaxPools> left_pools = {};
  // On what terms it was started; they hold also when its space is gone.
  std::uint64_t lease = SessionTerms{}.lease, tenure = SessionTerms{}.tenure;
  // When it was given to one who had waited in the queue; 0: nobody had to wait for it.
  std::uint64_t served_at = 0;
  // Somebody outside was asked for it (PolicySigned, PolicySecret, PolicyTicket): to be taken last.
  bool asked_authority = false;
  // Its bind entity is, or may be, one that counts misses: so does each of its uses (TPM-RULES 34).
  bool bound_to_what_counts = false;
  // Neither taken nor moved: it stays loaded (MISSION M11).
  bool reserved = false;
  // Somebody waits in a queue with a command for it: it is the last to leave. Not part of an image.
  bool awaited = false;
  // Made again, and its client does not have the new nonce yet (TPM-RULES 30).
  bool stale = false;
  wire::Bytes nonce;  // nonceTPM as its client knows it; empty: not known to us
  PolicyLog log;

  [[nodiscard]] bool loaded() const { return context.empty(); }
  // It can leave the TPM at any time, so it takes nothing from anybody; others are given by the bank.
  [[nodiscard]] bool can_be_made_again() const { return !reserved && log.can_be_made_again(); }
  // The bank gave it, and it may be taken back.
  [[nodiscard]] bool is_ordinary() const { return !can_be_made_again() && !reserved; }
};

// A session that was taken from a space (reclaimed). Its number stands for nothing else there until the client has
// flushed it: who was not told must not meet another session under the old handle (MISSION M8).
struct Tombstone {
  std::uint64_t order = 0;  // they are retired oldest first
  bool told = false;        // the client has used the handle since, and was refused
};

struct Space {
  OwnerId owner;
  SpaceLimits limits;
  std::map<std::uint32_t, Object> objects;  // by the client's handle
  // Handles of objects that were dropped to make room for another owner's, and that the client has not used since.
  // They stand for nothing else until then.
  std::set<std::uint32_t> taken_objects;
  std::map<std::uint32_t, Tombstone> tombstones;  // by number
  bool given_up = false;                          // Exhaustion::kClose: it answers SESSION_HANDLES until it is closed
};

inline constexpr std::size_t kMaxNonce = 64;  // the largest digest (Part 2, 10.4.3)

// Of sessions that were taken, at most so many of those whose clients were told stay in a space.
inline constexpr std::size_t kMaxTombstones = 16;

// What all spaces hold, or those of one pool.
struct Holding {
  std::uint32_t spaces = 0;
  std::uint32_t objects = 0;
  std::uint64_t bytes = 0;  // of their contexts

  auto operator<=>(const Holding&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Limits for all spaces together.
struct Quota {
  std::uint64_t context_bytes = 64ULL << 20;        // of objects; who may have how much of it: books/shared_room.h
  std::uint32_t abandoned_sessions_per_owner = 16;  // client-saved, connection gone; in all: half of the chip's
  std::uint32_t parked_sessions_per_owner = 4096;
  std::uint32_t abandoned_parked_per_owner = 256;
  std::uint64_t log_bytes = 32ULL << 20;  // of parked sessions; shared likewise
};

// Parked sessions of one owner, or of all.
struct ParkedSum {
  std::uint32_t sessions = 0;
  std::uint64_t bytes = 0;

  bool operator==(const ParkedSum&) const = default;
};

// A parked session that its client may use: by its space and the number that the client knows.
struct ParkedKey {
  SpaceId space;
  std::uint32_t number = 0;
  auto operator<=>(const ParkedKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Where the file of a parked session is found without looking at other owners' files: its owner, its space (0: its
// connection is closed), when it was used last.
struct FileKey {
  OwnerId owner;
  SpaceId space;
  std::uint64_t last_use = 0;
  ContextDigest copy{};
  auto operator<=>(const FileKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// An active session that is nobody's any more; flushed in idle time, or when the number or the room is needed.
struct UnwantedSession {
  std::uint32_t handle = 0;
  bool loaded = false;
  std::uint64_t sequence = 0;  // of its context, if it is saved: it counts for the context gap
  OwnerId left_by = {};        // who pays for its flush; 0: nobody is known to
};

// Where the idlest object of a payer is found without looking at any other.
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
  SharedRoom contexts{ShareRule{}};                       // their bytes, by who holds them; follows from `spaces`
  std::set<ObjectKey> objects_by_use;                     // follows from `spaces`
  std::map<PoolId, Holding> pools;                        // of pools with a space; follows from `spaces`
  std::map<std::uint32_t, Session> sessions;              // in the TPM, by the TPM's number
  KeptPlaces kept_places;  // not part of an image: after a restart an owner waits once more
  std::map<ParkedKey, Session> parked;
  std::map<ContextDigest, Session> parked_files;     // client-saved ones, by the digest of the client's copy
  std::map<OwnerId, std::uint32_t> parked_by_owner;  // how many; follows from these two; none is zero
  SharedRoom parked_bytes{ShareRule{}};              // likewise
  ParkedSum parked_in_all;
  std::set<FileKey> files_by_owner;  // follows from `parked_files`
  std::vector<Slot> slots;           // at most Chip::object_slots
  std::vector<UnwantedSession> unwanted_sessions;
  std::uint64_t tick = 0;
  std::uint64_t last_space = 0;
  std::uint64_t newest_sequence = 0;  // of any session context the TPM made
  std::uint64_t reclaims = 0;         // orders tombstones
  std::uint64_t last_token = 0;       // of the contexts that clients have of parked sessions
  std::uint64_t last_twin = 0;
  std::uint32_t reset_count = 0, restart_count = 0;  // the TPM's, when they were read last
  std::uint64_t counters_read_at = 0;
  // The TPM gave an answer nobody can believe, or was perhaps started up by somebody; it was not asked since what it
  // holds.
  bool in_doubt = false;
  // A TPM Reset was noticed then. What was saved and not shown since may be from before it.
  std::uint64_t doubted_at = 0;
};

// Opens and closes a space. What is in the TPM of it is the caller's business.
SpaceId open_space(Books& books, OwnerId owner, const SpaceLimits& limits);
void erase_space(Books& books, SpaceId space);
// One that comes whole, from an image. False: there is one of that number.
bool adopt_space(Books& books, SpaceId id, Space space);
// Precondition: the space is open. It may leave pools, and come to others whatever they hold.
void set_limits(Books& books, SpaceId space, const SpaceLimits& limits);

// Precondition: the space is open; for the last one, it has that object.
void add_object(Books& books, SpaceId space, wire::ClientHandle handle, Object object);
void erase_object(Books& books, SpaceId space, wire::ClientHandle handle);  // if it is there
void set_context(Books& books, SpaceId space, wire::ClientHandle handle, wire::Bytes context);
// It is used by the command of now, at that time.
void touch_object(Books& books, SpaceId space, wire::ClientHandle handle, std::uint64_t now);
// What is in the TPM of the space, or of its object alone, becomes nobody's; the owner of the space pays for the flush.
void leave_slots(Books& books, SpaceId space, std::optional<wire::ClientHandle> object = std::nullopt);
[[nodiscard]] Payer payer_of(const Space& space);
// From now on the sums are judged by these rules.
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

// Whether it may be that the TPM will not load its context: a reset came after that was made, for all we know.
// Precondition: it is not in the TPM.
template <typename T>
[[nodiscard]] bool is_doubtful(const Books& books, const T& saved) {
  return saved.seen_at < books.doubted_at;
}

// The slot an object is in; null: it is not in the TPM.
[[nodiscard]] const Slot* slot_of(const Books& books, SpaceId space, wire::ClientHandle object);
// The slot of a twin of it; null: it has none that is in the TPM.
[[nodiscard]] Slot* slot_of_twin(Books& books, SpaceId space, wire::ClientHandle object);
// The session in the TPM that the client knows by that number, if the space may use it now. The type octet of `handle`
// may be wrong. Null: none.
[[nodiscard]] Session* usable_session(Books& books, SpaceId space, std::uint32_t handle);
// Likewise, of those that are parked.
[[nodiscard]] Session* parked_session(Books& books, SpaceId space, std::uint32_t handle);
// Either.
[[nodiscard]] Session* known_session(Books& books, SpaceId space, std::uint32_t handle);
[[nodiscard]] std::uint32_t loaded_sessions(const Books& books);  // unwanted ones included
// Precondition: it is there.
[[nodiscard]] Holder holder_of(const Books& books, SpaceId space);
// Whether the space may take up what was saved for later: it is of the same owner, and the same part of it.
[[nodiscard]] inline bool may_take_up(const Space& space, const Session& session) {
  return Holder{session.owner, session.part} == Holder{space.owner, space.limits.part};
}
// The session was taken from its space, if it is in one: its number stands for nothing else there.
void add_tombstone(Books& books, const Session& session);
// Likewise for a number that the space must not meet, for its client may know another space's session by it.
void add_tombstone(Books& books, SpaceId space, std::uint32_t number);

// Whether that number stands for something in the space already: a session, a file of its own client, a tombstone.
[[nodiscard]] bool is_taken_in(const Books& books, SpaceId space, std::uint32_t number);

// How many sessions each space has that cannot be made again (reserved ones apart); under 0 those that nobody has any
// more.
[[nodiscard]] std::map<SpaceId, std::uint32_t> ordinary_sessions_by_space(const Books& books);
// All that its clients may use or have put away.
[[nodiscard]] std::uint32_t sessions_of_space(const Books& books, SpaceId space);

// What a parked session costs. Octets.
[[nodiscard]] std::uint64_t size_of_parked(const Session& session);
// A session that has left the TPM: client-saved or not decides where it goes. Precondition: its key is free.
void add_parked(Books& books, Session session);
// Takes it out again. Precondition: it is there.
Session take_parked(Books& books, const ParkedKey& key);
Session take_parked_file(Books& books, const ContextDigest& copy);
void drop_parked_of(Books& books, SpaceId space);  // those that its clients may use
// The space closes: the files of its parked sessions stay, for its owner's other spaces. Precondition: it is open.
void abandon_parked_files(Books& books, SpaceId space);
// For each parked session of the owner that it saved in that space (0: the connection is closed), idlest first.
// `each(const Session&)` must not change the books.
template <typename Each>
void for_each_file(const Books& books, OwnerId owner, SpaceId space, Each each) {
  const FileKey first{owner, space, 0, {}};
  for (auto it = books.files_by_owner.lower_bound(first);
       it != books.files_by_owner.end() && it->owner == owner && it->space == space; ++it)
    each(books.parked_files.at(it->copy));
}
// For each of the owner's, wherever it saved them.
template <typename Each>
void for_each_file(const Books& books, OwnerId owner, Each each) {
  const FileKey first{owner, {}, 0, {}};
  for (auto it = books.files_by_owner.lower_bound(first); it != books.files_by_owner.end() && it->owner == owner; ++it)
    each(books.parked_files.at(it->copy));
}
void forget_parked(Books& books);
// A session is gone from the TPM, and not by its client: that leaves a tombstone. False: there is none of that number.
bool lose_session(Books& books, std::uint32_t number);
// A session becomes nobody's, and the last of the unwanted ones. False: there is none of that number.
bool make_unwanted(Books& books, std::uint32_t number);

// Nullopt: everything that must be true of the books is. Else a sentence that says what is not.
[[nodiscard]] std::optional<std::string> check(const Books& books, const Chip& chip);

[[nodiscard]] wire::Bytes encode(const Books& books);
// Nullopt: not a complete image of this version. Nothing in the image is trusted.
[[nodiscard]] std::optional<Books> decode(wire::ByteView image);

}  // namespace tpmspace::space
