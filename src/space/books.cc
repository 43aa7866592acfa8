#include "space/books.h"

#include <algorithm>
#include <utility>

namespace tpmspace::space {

using wire::Bytes;

namespace {

// All sums at once: the owner's, everybody's, and those of the space's pools.
template <typename Change>
void count(Books& books, const Space& space, Change change) {
  change(books.holdings[space.owner]);
  change(books.held);
  for (const Pool& pool : space.limits.pools)
    if (pool.id.value != 0) change(books.pools[pool.id]);
}

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

}  // namespace

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
  const Holding whole = holding_of(entry->second);
  count(books, entry->second, [&](Holding& sum) { add(sum, whole); });
  books.spaces_by_owner.emplace(entry->second.owner, id);
  return true;
}

namespace {

// What it has in use goes with it. What it put away for later stays with its owner's other spaces, and so does what it
// was to be told.
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
  count(books, space, [&](Holding& sum) { subtract(sum, whole); });
  const SpaceLimits old = std::exchange(space.limits, limits);
  count(books, space, [&](Holding& sum) { add(sum, whole); });
  forget_empty_pools(books, old);
  if (old.part != limits.part) part_from_owner(books, id);
}

void erase_space(Books& books, SpaceId id) {
  const auto it = books.spaces.find(id);
  const Space& space = it->second;
  const Holding whole = holding_of(space);
  count(books, space, [&](Holding& sum) { subtract(sum, whole); });
  if (books.holdings.at(space.owner).spaces == 0) books.holdings.erase(space.owner);
  forget_empty_pools(books, space.limits);
  books.spaces_by_owner.erase({space.owner, id});
  books.spaces.erase(it);
}

void add_object(Books& books, SpaceId id, wire::ClientHandle handle, Object object) {
  Space& space = books.spaces.at(id);
  count(books, space, [&](Holding& sum) {
    ++sum.objects;
    sum.bytes += object.context.size();
  });
  space.objects.emplace(handle.value, std::move(object));
}

void erase_object(Books& books, SpaceId id, wire::ClientHandle handle) {
  Space& space = books.spaces.at(id);
  const auto it = space.objects.find(handle.value);
  if (it == space.objects.end()) return;
  count(books, space, [&](Holding& sum) {
    --sum.objects;
    sum.bytes -= it->second.context.size();
  });
  space.objects.erase(it);
}

void set_context(Books& books, SpaceId id, wire::ClientHandle handle, Bytes context) {
  Space& space = books.spaces.at(id);
  Object& object = space.objects.at(handle.value);
  count(books, space, [&](Holding& sum) { sum.bytes = sum.bytes - object.context.size() + context.size(); });
  object.context = std::move(context);
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
  const auto it = books.sessions.find(wire::number_of(handle));  // where nearly all are
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

// The oldest of those whose client was told.
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
  const auto change = [&](ParkedSum& sum) {
    const std::uint64_t bytes = size_of_parked(session);
    sum.sessions = more ? sum.sessions + 1 : sum.sessions - 1;
    sum.bytes = more ? sum.bytes + bytes : sum.bytes - bytes;
  };
  ParkedSum& of_owner = books.parked_by_owner[session.owner];
  change(of_owner);
  change(books.parked_in_all);
  if (of_owner.sessions == 0) books.parked_by_owner.erase(session.owner);
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
  books.unwanted_sessions.push_back(UnwantedSession{session.handle, session.loaded(), session.sequence});
  books.sessions.erase(it);
  return true;
}

}  // namespace tpmspace::space
