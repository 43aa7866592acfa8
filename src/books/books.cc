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
  Space& space = books.spaces.at(id);
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
  const Space& space = books.spaces.at(id);
  return {.owner = space.owner, .part = space.limits.part};
}

void set_limits(Books& books, SpaceId id, const SpaceLimits& limits) {
  Space& space = books.spaces.at(id);
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
  const Space& space = it->second;
  count_less(books, space, holding_of(space));
  erase_keys(books, id, space);
  forget_empty_pools(books, space.limits);
  books.spaces_by_owner.erase({space.owner, id});
  books.spaces.erase(it);
}

void add_object(Books& books, SpaceId id, wire::ClientHandle handle, Object object) {
  Space& space = books.spaces.at(id);
  count_more(books, space, {.objects = 1, .bytes = object.context.size()});
  books.objects_by_use.insert(key_of(space, id, handle.value, object));
  space.objects.emplace(handle.value, std::move(object));
}

void erase_object(Books& books, SpaceId id, wire::ClientHandle handle) {
  Space& space = books.spaces.at(id);
  const auto it = space.objects.find(handle.value);
  if (it == space.objects.end()) return;
  count_less(books, space, {.objects = 1, .bytes = it->second.context.size()});
  books.objects_by_use.erase(key_of(space, id, handle.value, it->second));
  space.objects.erase(it);
}

void set_context(Books& books, SpaceId id, wire::ClientHandle handle, Bytes context) {
  Space& space = books.spaces.at(id);
  Object& object = space.objects.at(handle.value);
  count_more(books, space, {.bytes = context.size()});
  count_less(books, space, {.bytes = object.context.size()});
  object.context = std::move(context);
}

void touch_object(Books& books, SpaceId id, wire::ClientHandle handle, std::uint64_t now) {
  const Space& space = books.spaces.at(id);
  Object& object = books.spaces.at(id).objects.at(handle.value);
  books.objects_by_use.erase(key_of(space, id, handle.value, object));
  object.last_use = books.tick;
  object.used_at = now;
  books.objects_by_use.insert(key_of(space, id, handle.value, object));
}

void leave_slots(Books& books, SpaceId id, std::optional<wire::ClientHandle> object) {
  for (Slot& slot : books.slots) {
    if (slot.space != id || (object && slot.object != *object)) continue;
    slot.left_by = books.spaces.at(id).owner;
    slot.space = SpaceId{};
  }
}

const Slot* slot_of(const Books& books, SpaceId space, wire::ClientHandle object) {
  for (const auto& slot : books.slots)
    if (slot.space == space && slot.object == object) return &slot;
  return nullptr;
}

Slot* slot_of_twin(Books& books, SpaceId space, wire::ClientHandle object) {
  const std::uint64_t twin = books.spaces.at(space).objects.at(object.value).twin;
  if (twin == 0) return nullptr;
  for (auto& slot : books.slots)
    if (slot.space.value != 0 && books.spaces.at(slot.space).objects.at(slot.object.value).twin == twin) return &slot;
  return nullptr;
}

Session* usable_session(Books& books, SpaceId space, std::uint32_t handle) {
  const auto is_it = [&](const Session& session) {
    return session.space == space && !session.client_saved &&
           wire::number_of(session.client.value) == wire::number_of(handle);
  };
  const auto it = books.sessions.find(wire::number_of(handle));  // the usual case
  if (it != books.sessions.end() && is_it(it->second)) return &it->second;
  for (auto& [number, session] : books.sessions)
    if (is_it(session)) return &session;
  return nullptr;
}

Session* parked_session(Books& books, SpaceId space, std::uint32_t handle) {
  const auto it = books.parked.find({space, wire::number_of(handle)});
  return it == books.parked.end() ? nullptr : &it->second;
}

Session* known_session(Books& books, SpaceId space, std::uint32_t handle) {
  Session* usable = usable_session(books, space, handle);
  return usable != nullptr ? usable : parked_session(books, space, handle);
}

bool is_taken_in(const Books& books, SpaceId space, std::uint32_t number) {
  const auto is_it = [&](const auto& entry) {
    return entry.second.space == space && wire::number_of(entry.second.client.value) == number;
  };
  const Space& here = books.spaces.at(space);
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
  Space& space = books.spaces.at(id);
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
  for_each_file(books, books.spaces.at(space).owner, space, [&](const Session&) { ++out; });
  return out;
}

namespace {

void count_parked(Books& books, const Session& session, bool more) {
  const std::uint64_t bytes = size_of_parked(session);
  const Payer payer = Payer::of(session.owner, false);
  std::uint32_t& of_owner = books.parked_by_owner[session.owner];
  of_owner = more ? of_owner + 1 : of_owner - 1;
  if (of_owner == 0) books.parked_by_owner.erase(session.owner);
  ParkedSum& all = books.parked_in_all;
  all.sessions = more ? all.sessions + 1 : all.sessions - 1;
  all.bytes = more ? all.bytes + bytes : all.bytes - bytes;
  if (more)
    books.parked_bytes.take(payer, bytes);
  else
    books.parked_bytes.give_back(payer, bytes);
}

FileKey key_of_file(const Session& session) {
  return {session.owner, session.space, session.last_use, session.client_copy};
}

}  // namespace

void add_parked(Books& books, Session session) {
  count_parked(books, session, true);
  if (session.client_saved) {
    const ContextDigest copy = session.client_copy;
    books.files_by_owner.insert(key_of_file(session));
    books.parked_files.emplace(copy, std::move(session));
  } else {
    const ParkedKey key{session.space, wire::number_of(session.client.value)};
    books.parked.emplace(key, std::move(session));
  }
}

Session take_parked(Books& books, const ParkedKey& key) {
  auto node = books.parked.extract(key);
  count_parked(books, node.mapped(), false);
  return std::move(node.mapped());
}

Session take_parked_file(Books& books, const ContextDigest& copy) {
  auto node = books.parked_files.extract(copy);
  count_parked(books, node.mapped(), false);
  books.files_by_owner.erase(key_of_file(node.mapped()));
  return std::move(node.mapped());
}

void drop_parked_of(Books& books, SpaceId space) {
  for (auto it = books.parked.lower_bound({space, 0}); it != books.parked.end() && it->first.space == space;)
    (void)take_parked(books, (it++)->first);
}

void abandon_parked_files(Books& books, SpaceId space) {
  const OwnerId owner = books.spaces.at(space).owner;
  std::vector<ContextDigest> copies;
  for_each_file(books, owner, space, [&](const Session& file) { copies.push_back(file.client_copy); });
  for (const ContextDigest& copy : copies) {
    Session file = take_parked_file(books, copy);
    file.space = SpaceId{};
    add_parked(books, std::move(file));
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

}  // namespace tpmspace::space
