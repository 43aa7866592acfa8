#include "books/books.h"

#include <algorithm>
#include <utility>

namespace tpmspace::space {

using wire::Bytes;

namespace {

void forget_empty_pools(Books& books, const SpaceLimits& limits) {
  for (const Pool& pool : limits.pools) {
    const auto sum = books.pools.find(pool.id);
    if (sum != books.pools.end() && sum->second.spaces == 0) books.pools.erase(sum);
  }
}

Holding holding_of(const Space& space) {
  Holding out{.spaces = 1, .objects = static_cast<std::uint32_t>(space.objects.size())};
  for (const auto& [handle, object] : space.objects) out.bytes += object.context.size();
  return out;
}

void add(Holding& sum, const Holding& one) {
  sum.spaces += one.spaces;
  sum.objects += one.objects;
  sum.bytes += one.bytes;
}

void subtract(Holding& sum, const Holding& one) {
  if (!TPMSPACE_HOLDS(sum.spaces >= one.spaces && sum.objects >= one.objects && sum.bytes >= one.bytes)) return;
  sum.spaces -= one.spaces;
  sum.objects -= one.objects;
  sum.bytes -= one.bytes;
}

// Changes all sums at once: of all spaces, of the payer, and of the space's pools. `more` is the change.
void count_more(Books& books, const Space& space, const Holding& more) {
  add(books.held, more);
  books.contexts.take(payer_of(space), more.bytes);
  for (const Pool& pool : space.limits.pools)
    if (pool.id.value != 0) add(books.pools[pool.id], more);
}
void count_less(Books& books, const Space& space, const Holding& less) {
  subtract(books.held, less);
  books.contexts.give_back(payer_of(space), less.bytes);
  for (const Pool& pool : space.limits.pools)
    if (pool.id.value != 0) subtract(books.pools[pool.id], less);
}

ObjectKey key_of(const Space& space, SpaceId id, std::uint32_t handle, const Object& object) {
  return {payer_of(space), object.last_use, id, handle};
}

void add_keys(Books& books, SpaceId id, const Space& space) {
  for (const auto& [handle, object] : space.objects) books.objects_by_use.insert(key_of(space, id, handle, object));
}
void erase_keys(Books& books, SpaceId id, const Space& space) {
  for (const auto& [handle, object] : space.objects) books.objects_by_use.erase(key_of(space, id, handle, object));
}

}  // namespace

// --- lookups

Space* find_space(Books& books, SpaceId id) {
  const auto found = books.spaces.find(id);
  return found == books.spaces.end() ? nullptr : &found->second;
}
const Space* find_space(const Books& books, SpaceId id) {
  const auto found = books.spaces.find(id);
  return found == books.spaces.end() ? nullptr : &found->second;
}

const Object* find_object(const Books& books, SpaceId id, wire::ClientHandle handle) {
  const Space* space = find_space(books, id);
  if (space == nullptr) return nullptr;
  const auto found = space->objects.find(handle.value);
  return found == space->objects.end() ? nullptr : &found->second;
}
Object* find_object(Books& books, SpaceId id, wire::ClientHandle handle) {
  return const_cast<Object*>(find_object(std::as_const(books), id, handle));  // NOLINT: the books are not const
}

const Object* object_in(const Books& books, const Slot& slot) {
  if (slot.space.value == 0) return nullptr;
  const Object* object = find_object(books, slot.space, slot.object);
  return TPMSPACE_HOLDS(object != nullptr) ? object : nullptr;
}
Object* object_in(Books& books, const Slot& slot) {
  return const_cast<Object*>(object_in(std::as_const(books), slot));  // NOLINT: the books are not const
}

Session* find_session(Books& books, std::uint32_t number) {
  const auto found = books.sessions.find(number);
  return found == books.sessions.end() ? nullptr : &found->second;
}
const Session* find_session(const Books& books, std::uint32_t number) {
  const auto found = books.sessions.find(number);
  return found == books.sessions.end() ? nullptr : &found->second;
}

Space& space_of(Books& books, SpaceId id) {
  Space* space = find_space(books, id);
  TPMSPACE_ASSERT(space != nullptr);
  return *space;
}
const Space& space_of(const Books& books, SpaceId id) {
  const Space* space = find_space(books, id);
  TPMSPACE_ASSERT(space != nullptr);
  return *space;
}

// --- spaces

Payer payer_of(const Space& space) {
  return Payer::of(space.owner, space.limits.administers);
}

void set_rules(Books& books, const ShareRule& contexts, const ShareRule& parked_bytes) {
  books.contexts = books.contexts.by(contexts);
  books.parked_bytes = books.parked_bytes.by(parked_bytes);
}

SpaceId open_space(Books& books, OwnerId owner, const SpaceLimits& limits) {
  const SpaceId id{++books.last_space};
  Space space;
  space.owner = owner;
  space.limits = limits;
  (void)adopt_space(books, id, std::move(space));
  return id;
}

bool adopt_space(Books& books, SpaceId id, Space space) {
  const auto [entry, is_new] = books.spaces.emplace(id, std::move(space));
  if (!is_new) return false;
  count_more(books, entry->second, holding_of(entry->second));
  add_keys(books, id, entry->second);
  books.spaces_by_owner.emplace(entry->second.owner, id);
  return true;
}

namespace {

// For a space that changes its part: the sessions in use move to the new part. Client-saved sessions keep the old part,
// and the tombstones are dropped.
void part_from_owner(Books& books, SpaceId id) {
  Space& space = space_of(books, id);
  space.tombstones.clear();
  const auto take_along = [&](Session& session) {
    if (session.space == id && !session.client_saved) session.part = space.limits.part;
  };
  for (auto& [number, session] : books.sessions) take_along(session);
  for (auto it = books.parked.lower_bound({id, 0}); it != books.parked.end() && it->first.space == id; ++it)
    take_along(it->second);
}

}  // namespace

Holder holder_of(const Books& books, SpaceId id) {
  const Space& space = space_of(books, id);
  return {.owner = space.owner, .part = space.limits.part};
}

void set_limits(Books& books, SpaceId id, const SpaceLimits& limits) {
  Space& space = space_of(books, id);
  const Holding whole = holding_of(space);
  const bool pays_otherwise = space.limits.administers != limits.administers;
  count_less(books, space, whole);
  if (pays_otherwise) erase_keys(books, id, space);
  const SpaceLimits old = std::exchange(space.limits, limits);
  if (pays_otherwise) add_keys(books, id, space);
  count_more(books, space, whole);
  forget_empty_pools(books, old);
  if (old.part != limits.part) part_from_owner(books, id);
}

void erase_space(Books& books, SpaceId id) {
  const auto it = books.spaces.find(id);
  if (!TPMSPACE_HOLDS(it != books.spaces.end())) return;
  const Space& space = it->second;
  count_less(books, space, holding_of(space));
  erase_keys(books, id, space);
  forget_empty_pools(books, space.limits);
  books.spaces_by_owner.erase({space.owner, id});
  books.spaces.erase(it);
}

bool add_object(Books& books, SpaceId id, wire::ClientHandle handle, Object object) {
  Space& space = space_of(books, id);
  if (!TPMSPACE_HOLDS(space.objects.count(handle.value) == 0)) return false;
  count_more(books, space, {.objects = 1, .bytes = object.context.size()});
  books.objects_by_use.insert(key_of(space, id, handle.value, object));
  space.objects.emplace(handle.value, std::move(object));
  return true;
}

void erase_object(Books& books, SpaceId id, wire::ClientHandle handle) {
  Space& space = space_of(books, id);
  const auto it = space.objects.find(handle.value);
  if (it == space.objects.end()) return;
  count_less(books, space, {.objects = 1, .bytes = it->second.context.size()});
  books.objects_by_use.erase(key_of(space, id, handle.value, it->second));
  space.objects.erase(it);
}

bool set_context(Books& books, SpaceId id, wire::ClientHandle handle, Bytes context) {
  const Space& space = space_of(books, id);
  Object* object = find_object(books, id, handle);
  if (object == nullptr) return false;
  count_more(books, space, {.bytes = context.size()});
  count_less(books, space, {.bytes = object->context.size()});
  object->context = std::move(context);
  return true;
}

bool touch_object(Books& books, SpaceId id, wire::ClientHandle handle, std::uint64_t now) {
  const Space& space = space_of(books, id);
  Object* object = find_object(books, id, handle);
  if (object == nullptr) return false;
  books.objects_by_use.erase(key_of(space, id, handle.value, *object));
  object->last_use = books.tick;
  object->used_at = now;
  books.objects_by_use.insert(key_of(space, id, handle.value, *object));
  return true;
}

void leave_slots(Books& books, SpaceId id, std::optional<wire::ClientHandle> object) {
  const OwnerId owner = space_of(books, id).owner;
  for (Slot& slot : books.slots) {
    if (slot.space != id || (object && slot.object != *object)) continue;
    slot.left_by = owner;
    slot.space = SpaceId{};
  }
}

const Slot* slot_of(const Books& books, SpaceId space, wire::ClientHandle object) {
  for (const auto& slot : books.slots)
    if (slot.space == space && slot.object == object) return &slot;
  return nullptr;
}

const Slot* slot_of_twin(const Books& books, SpaceId space, wire::ClientHandle object) {
  const Object* wanted = find_object(books, space, object);
  if (wanted == nullptr || wanted->twin == 0) return nullptr;
  for (const Slot& slot : books.slots) {
    const Object* loaded = object_in(books, slot);
    if (loaded != nullptr && loaded->twin == wanted->twin) return &slot;
  }
  return nullptr;
}

Slot* slot_of_twin(Books& books, SpaceId space, wire::ClientHandle object) {
  return const_cast<Slot*>(slot_of_twin(std::as_const(books), space, object));  // NOLINT: the books are not const
}

const Session* usable_session(const Books& books, SpaceId space, std::uint32_t handle) {
  if (!wire::is_session(handle)) return nullptr;
  const auto is_it = [&](const Session& session) {
    return session.space == space && !session.client_saved &&
           wire::number_of(session.client.value) == wire::number_of(handle);
  };
  const auto it = books.sessions.find(wire::number_of(handle));  // the usual case
  if (it != books.sessions.end() && is_it(it->second)) return &it->second;
  for (const auto& [number, session] : books.sessions)
    if (is_it(session)) return &session;
  return nullptr;
}
Session* usable_session(Books& books, SpaceId space, std::uint32_t handle) {
  return const_cast<Session*>(usable_session(std::as_const(books), space, handle));  // NOLINT: the books are not const
}

const Session* parked_session(const Books& books, SpaceId space, std::uint32_t handle) {
  if (!wire::is_session(handle)) return nullptr;
  const auto it = books.parked.find({space, wire::number_of(handle)});
  return it == books.parked.end() ? nullptr : &it->second;
}

Session* parked_session(Books& books, SpaceId space, std::uint32_t handle) {
  return const_cast<Session*>(parked_session(std::as_const(books), space, handle));  // NOLINT: the books are not const
}

const Session* known_session(const Books& books, SpaceId space, std::uint32_t handle) {
  const Session* usable = usable_session(books, space, handle);
  return usable != nullptr ? usable : parked_session(books, space, handle);
}
Session* known_session(Books& books, SpaceId space, std::uint32_t handle) {
  return const_cast<Session*>(known_session(std::as_const(books), space, handle));  // NOLINT: the books are not const
}

bool is_taken_in(const Books& books, SpaceId space, std::uint32_t number) {
  const auto is_it = [&](const auto& entry) {
    return entry.second.space == space && wire::number_of(entry.second.client.value) == number;
  };
  const Space& here = space_of(books, space);
  bool is_file = false;
  for_each_file(books, here.owner, space,
                [&](const Session& file) { is_file = is_file || wire::number_of(file.client.value) == number; });
  return is_file || here.tombstones.count(number) != 0 || books.parked.count({space, number}) != 0 ||
         std::any_of(books.sessions.begin(), books.sessions.end(), is_it);
}

namespace {

// The oldest tombstone whose client was told.
void retire_tombstone(Space& space) {
  auto oldest = space.tombstones.end();
  for (auto it = space.tombstones.begin(); it != space.tombstones.end(); ++it)
    if (it->second.told && (oldest == space.tombstones.end() || it->second.order < oldest->second.order)) oldest = it;
  if (oldest != space.tombstones.end()) space.tombstones.erase(oldest);
}

}  // namespace

void add_tombstone(Books& books, const Session& session) {
  if (session.space.value == 0 || session.client_saved) return;
  add_tombstone(books, session.space, wire::number_of(session.client.value));
}

void add_tombstone(Books& books, SpaceId id, std::uint32_t number) {
  Space& space = space_of(books, id);
  if (space.tombstones.size() >= kMaxTombstones) retire_tombstone(space);
  space.tombstones[number] = Tombstone{++books.reclaims, false};
}

std::uint32_t loaded_sessions(const Books& books) {
  std::uint32_t loaded = 0;
  for (const auto& [number, session] : books.sessions) loaded += session.loaded() ? 1U : 0U;
  for (const auto& unwanted : books.unwanted_sessions) loaded += unwanted.loaded ? 1U : 0U;
  return loaded;
}

std::map<SpaceId, std::uint32_t> ordinary_sessions_by_space(const Books& books) {
  std::map<SpaceId, std::uint32_t> out;
  for (const auto& [number, session] : books.sessions)
    if (!session.can_be_made_again() && !session.reserved) ++out[session.space];
  return out;
}

std::uint32_t sessions_of_space(const Books& books, SpaceId space) {
  std::uint32_t out = 0;
  for (const auto& [number, session] : books.sessions) out += session.space == space ? 1U : 0U;
  for (auto it = books.parked.lower_bound({space, 0}); it != books.parked.end() && it->first.space == space; ++it)
    ++out;
  for_each_file(books, space_of(books, space).owner, space, [&](const Session&) { ++out; });
  return out;
}

namespace {

void count_one_more_parked(Books& books, const Session& session) {
  const std::uint64_t bytes = size_of_parked(session);
  ++books.parked_by_owner[session.owner];
  ++books.parked_in_all.sessions;
  books.parked_in_all.bytes += bytes;
  books.parked_bytes.take(Payer::of(session.owner, false), bytes);
}
void count_one_parked_less(Books& books, const Session& session) {
  const std::uint64_t bytes = size_of_parked(session);
  const auto of_owner = books.parked_by_owner.find(session.owner);
  ParkedSum& all = books.parked_in_all;
  if (!TPMSPACE_HOLDS(of_owner != books.parked_by_owner.end() && all.sessions > 0 && all.bytes >= bytes)) return;
  if (--of_owner->second == 0) books.parked_by_owner.erase(of_owner);
  --all.sessions;
  all.bytes -= bytes;
  books.parked_bytes.give_back(Payer::of(session.owner, false), bytes);
}

FileKey key_of_file(const Session& session) {
  return {session.owner, session.space, session.last_use, session.client_copy};
}

}  // namespace

bool add_parked(Books& books, Session session) {
  const ContextDigest copy = session.client_copy;
  const ParkedKey key{session.space, wire::number_of(session.client.value)};
  const bool is_file = session.client_saved;
  const bool is_free = is_file ? books.parked_files.count(copy) == 0 : books.parked.count(key) == 0;
  if (!TPMSPACE_HOLDS(is_free)) return false;
  count_one_more_parked(books, session);
  if (is_file) {
    books.files_by_owner.insert(key_of_file(session));
    books.parked_files.emplace(copy, std::move(session));
  } else {
    books.parked.emplace(key, std::move(session));
  }
  return true;
}

std::optional<Session> take_parked(Books& books, const ParkedKey& key) {
  auto node = books.parked.extract(key);
  if (node.empty()) return std::nullopt;
  count_one_parked_less(books, node.mapped());
  return std::move(node.mapped());
}

std::optional<Session> take_parked_file(Books& books, const ContextDigest& copy) {
  auto node = books.parked_files.extract(copy);
  if (node.empty()) return std::nullopt;
  count_one_parked_less(books, node.mapped());
  books.files_by_owner.erase(key_of_file(node.mapped()));
  return std::move(node.mapped());
}

void drop_parked_of(Books& books, SpaceId space) {
  for (auto it = books.parked.lower_bound({space, 0}); it != books.parked.end() && it->first.space == space;)
    (void)take_parked(books, (it++)->first);
}

void abandon_parked_files(Books& books, SpaceId space) {
  const OwnerId owner = space_of(books, space).owner;
  std::vector<ContextDigest> copies;
  for_each_file(books, owner, space, [&](const Session& file) { copies.push_back(file.client_copy); });
  for (const ContextDigest& copy : copies) {
    auto file = take_parked_file(books, copy);
    if (!file) continue;
    file->space = SpaceId{};
    (void)add_parked(books, std::move(*file));
  }
}

void forget_parked(Books& books) {
  books.parked.clear();
  books.parked_files.clear();
  books.files_by_owner.clear();
  books.parked_by_owner.clear();
  books.parked_bytes = SharedRoom(books.parked_bytes.rule());
  books.parked_in_all = {};
}

std::uint64_t size_of_parked(const Session& session) {
  return sizeof(session) + session.nonce.size() + session.log.size();
}

bool lose_session(Books& books, std::uint32_t number) {
  const auto it = books.sessions.find(number);
  if (it == books.sessions.end()) return false;
  const Session lost = std::move(it->second);
  books.sessions.erase(it);
  add_tombstone(books, lost);
  return true;
}

bool make_unwanted(Books& books, std::uint32_t number) {
  const auto it = books.sessions.find(number);
  if (it == books.sessions.end()) return false;
  const Session& session = it->second;
  books.unwanted_sessions.push_back(UnwantedSession{session.handle, session.loaded(), session.sequence, session.owner});
  books.sessions.erase(it);
  return true;
}

void add_up(Books& books) {
  books.spaces_by_owner.clear();
  books.objects_by_use.clear();
  books.pools.clear();
  books.held = {};
  books.contexts = SharedRoom(books.contexts.rule());
  for (const auto& [id, space] : books.spaces) {
    count_more(books, space, holding_of(space));
    add_keys(books, id, space);
    books.spaces_by_owner.emplace(space.owner, id);
  }
  books.files_by_owner.clear();
  books.parked_by_owner.clear();
  books.parked_in_all = {};
  books.parked_bytes = SharedRoom(books.parked_bytes.rule());
  for (const auto& [key, session] : books.parked) count_one_more_parked(books, session);
  for (const auto& [copy, session] : books.parked_files) {
    count_one_more_parked(books, session);
    books.files_by_owner.insert(key_of_file(session));
  }
}

}  // namespace tpmspace::space
