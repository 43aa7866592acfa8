#include "space/books.h"

#include <algorithm>
#include <set>

namespace tpmspace::space {

using wire::Bytes;
using wire::ByteView;
using wire::Reader;
using wire::Writer;

namespace {

// Both sums at once: the owner's and everybody's.
template <typename Change>
void count(Books& books, OwnerId owner, Change change) {
  change(books.holdings[owner]);
  change(books.held);
}

std::optional<std::string> check_holdings(const Books& books) {
  std::map<OwnerId, Holding> holdings;
  Holding held;
  for (const auto& [id, space] : books.spaces) {
    for (Holding* sum : {&holdings[space.owner], &held}) {
      ++sum->spaces;
      sum->objects += static_cast<std::uint32_t>(space.objects.size());
      for (const auto& [handle, object] : space.objects) sum->bytes += object.context.size();
    }
  }
  if (holdings != books.holdings || held != books.held) return "what owners hold is not added up";
  return std::nullopt;
}

std::optional<std::string> check_slots(const Books& books, const Chip& chip) {
  std::set<std::uint32_t> in_tpm;
  std::set<std::pair<SpaceId, wire::ClientHandle>> objects;
  for (const auto& slot : books.slots) {
    if (!wire::is_transient(slot.tpm.value)) return "a slot's handle is not transient";
    if (!in_tpm.insert(slot.tpm.value).second) return "two objects in one slot";
    if (slot.space.value == 0) continue;
    if (!objects.emplace(slot.space, slot.object).second) return "one object in two slots";
    const auto space = books.spaces.find(slot.space);
    if (space == books.spaces.end() || space->second.objects.count(slot.object.value) == 0)
      return "a slot holds what no space knows";
  }
  if (books.slots.size() > chip.object_slots) return "more objects loaded than the TPM has slots";
  return std::nullopt;
}

std::optional<std::string> check_objects(const Books& books) {
  for (const auto& [id, space] : books.spaces) {
    if (id.value == 0) return "a space is nobody's";
    if (id.value > books.last_space) return "a space's number is still to be given out";
    if (space.objects.size() > space.limits.objects) return "a space holds more objects than its limit";
    for (const auto& [handle, object] : space.objects) {
      if (!wire::is_transient(handle)) return "an object's handle is not transient";
      if (object.last_use > books.tick) return "an object was used in the future";
      if (object.context.empty() && slot_of(books, id, wire::ClientHandle{handle}) == nullptr)
        return "an object is neither loaded nor saved";
    }
  }
  return std::nullopt;
}

std::optional<std::string> check_tombstones(const Books& books, const Chip& chip) {
  for (const auto& [id, space] : books.spaces) {
    for (const auto& [number, stone] : space.tombstones) {
      if (number >= chip.session_numbers) return "a tombstone has a number that no session can have";
      if (stone.order > books.reclaims) return "a tombstone is from the future";
      const auto session = books.sessions.find(number);
      if (session != books.sessions.end() && session->second.space == id)
        return "a space has a session under a number that was taken from it";
    }
  }
  return std::nullopt;
}

std::optional<std::string> check_sessions(const Books& books, const Chip& chip) {
  for (const auto& [number, session] : books.sessions) {
    if (!wire::is_session(session.handle)) return "a session's handle is not a session's";
    if (number != wire::number_of(session.handle)) return "a session is booked under another's number";
    if (session.last_use > books.tick) return "a session was used in the future";
    if (session.space.value == 0 && !session.client_saved) return "a session of nobody is not client-saved";
    if (session.space.value == 0) continue;
    const auto space = books.spaces.find(session.space);
    if (space == books.spaces.end()) return "a session's space is not open";
    if (space->second.owner != session.owner) return "a session is in another owner's space";
  }
  std::set<std::uint32_t> unwanted_numbers;
  for (const auto& unwanted : books.unwanted_sessions) {
    if (!wire::is_session(unwanted.handle)) return "an unwanted session's handle is not a session's";
    const std::uint32_t number = wire::number_of(unwanted.handle);
    if (books.sessions.count(number) != 0) return "an unwanted session is booked as somebody's";
    if (!unwanted_numbers.insert(number).second) return "an unwanted session is booked twice";
  }
  if (loaded_sessions(books) > chip.loaded_sessions) return "more sessions loaded than the TPM has slots";
  if (books.sessions.size() + books.unwanted_sessions.size() > chip.active_sessions)
    return "more active sessions than the TPM has";
  return std::nullopt;
}

// The image: a version, then every field in the order of the declarations.
constexpr std::uint32_t kImageVersion = 2;

void put_blob(Writer& out, ByteView blob) {
  out.u32(static_cast<std::uint32_t>(blob.size())).raw(blob);
}

std::optional<Bytes> get_blob(Reader& in) {
  const auto size = in.u32();
  if (!size) return std::nullopt;
  const auto body = in.take(*size);
  if (!body) return std::nullopt;
  return wire::to_bytes(*body);
}

void put(Writer& out, const Object& object) {
  out.u8(object.sequence ? std::uint8_t{1} : std::uint8_t{0}).u64(object.last_use);
  put_blob(out, object.context);
}

// Entries stand in the order of their keys, each once: there is one image of the same books.
template <typename Map, typename Key, typename Value>
bool append(Map& map, const Key& key, Value value) {
  if (!map.empty() && !(map.rbegin()->first < key)) return false;
  map.emplace_hint(map.end(), key, std::move(value));
  return true;
}

// Anything but 0 and 1 is no image of ours.
std::optional<bool> get_flag(Reader& in) {
  const auto value = in.u8();
  if (!value || *value > 1) return std::nullopt;
  return *value == 1;
}

std::optional<Object> get_object(Reader& in) {
  Object out;
  const auto sequence = get_flag(in);
  const auto last_use = in.u64();
  auto context = get_blob(in);
  if (!sequence || !last_use || !context) return std::nullopt;
  out.sequence = *sequence;
  out.last_use = *last_use;
  out.context = std::move(*context);
  return out;
}

void put(Writer& out, const SpaceLimits& limits) {
  const SessionTerms& terms = limits.terms;
  out.u32(limits.objects).u32(limits.sessions).u32(terms.claim);
  out.u64(terms.lease).u64(terms.tenure).u64(terms.deadline).u8(static_cast<std::uint8_t>(terms.exhaustion));
}

std::optional<SpaceLimits> get_limits(Reader& in) {
  const auto objects = in.u32(), sessions = in.u32(), claim = in.u32();
  const auto lease = in.u64(), tenure = in.u64(), deadline = in.u64();
  const auto exhaustion = in.u8();
  if (!objects || !sessions || !claim || !lease || !tenure || !deadline || !exhaustion) return std::nullopt;
  if (*exhaustion > static_cast<std::uint8_t>(Exhaustion::kClose)) return std::nullopt;
  return SpaceLimits{*objects, *sessions,
                     SessionTerms{*claim, *lease, *tenure, *deadline, static_cast<Exhaustion>(*exhaustion)}};
}

void put(Writer& out, const Space& space) {
  out.u64(space.owner.value);
  put(out, space.limits);
  out.u32(static_cast<std::uint32_t>(space.objects.size()));
  for (const auto& [handle, object] : space.objects) {
    out.u32(handle);
    put(out, object);
  }
  out.u32(static_cast<std::uint32_t>(space.tombstones.size()));
  for (const auto& [number, stone] : space.tombstones)
    out.u32(number).u64(stone.order).u8(stone.told ? std::uint8_t{1} : std::uint8_t{0});
  out.u8(space.given_up ? std::uint8_t{1} : std::uint8_t{0});
}

void put(Writer& out, const Session& session) {
  out.u32(session.handle).u8(static_cast<std::uint8_t>(session.kind));
  out.u64(session.owner.value).u64(session.space.value).u8(session.client_saved ? std::uint8_t{1} : std::uint8_t{0});
  out.u64(session.sequence).raw(session.client_copy).u64(session.last_use);
  out.u64(session.started_at).u64(session.used_at).u64(session.lease).u64(session.tenure);
  out.u64(session.served_at);
  out.u8(session.asked_authority ? std::uint8_t{1} : std::uint8_t{0});
  put_blob(out, session.context);
}

std::optional<SessionKind> get_kind(Reader& in) {
  const auto value = in.u8();
  if (!value || *value > 3 || *value == 2) return std::nullopt;
  return static_cast<SessionKind>(*value);
}

std::optional<Session> get_session(Reader& in) {
  Session out;
  const auto handle = in.u32();
  const auto kind = get_kind(in);
  const auto owner = in.u64(), space = in.u64();
  const auto client_saved = get_flag(in);
  const auto sequence = in.u64();
  const auto client_copy = in.take(out.client_copy.size());
  const auto last_use = in.u64(), started_at = in.u64(), used_at = in.u64(), lease = in.u64(), tenure = in.u64();
  const auto served_at = in.u64();
  const auto asked_authority = get_flag(in);
  auto context = get_blob(in);
  if (!handle || !kind || !owner || !space || !client_saved || !sequence || !client_copy) return std::nullopt;
  if (!last_use || !started_at || !used_at || !lease || !tenure || !served_at || !asked_authority || !context)
    return std::nullopt;
  out.handle = *handle;
  out.kind = *kind;
  out.owner = OwnerId{*owner};
  out.space = SpaceId{*space};
  out.client_saved = *client_saved;
  out.sequence = *sequence;
  std::copy(client_copy->begin(), client_copy->end(), out.client_copy.begin());
  out.last_use = *last_use;
  out.started_at = *started_at;
  out.used_at = *used_at;
  out.lease = *lease;
  out.tenure = *tenure;
  out.served_at = *served_at;
  out.asked_authority = *asked_authority;
  out.context = std::move(*context);
  return out;
}

template <typename Each>
bool get_list(Reader& in, Each each) {
  const auto count = in.u32();
  if (!count) return false;
  for (std::uint32_t i = 0; i < *count; ++i)
    if (!each()) return false;
  return true;
}

std::optional<Space> get_space(Reader& in) {
  Space out;
  const auto owner = in.u64();
  const auto limits = get_limits(in);
  if (!owner || !limits) return std::nullopt;
  out.owner = OwnerId{*owner};
  out.limits = *limits;
  const bool objects = get_list(in, [&] {
    const auto handle = in.u32();
    if (!handle) return false;
    auto object = get_object(in);
    return object && append(out.objects, *handle, std::move(*object));
  });
  const bool tombstones = objects && get_list(in, [&] {
                            const auto number = in.u32();
                            const auto order = in.u64();
                            const auto told = get_flag(in);
                            return number && order && told && append(out.tombstones, *number, Tombstone{*order, *told});
                          });
  const auto given_up = get_flag(in);
  if (!tombstones || !given_up) return std::nullopt;
  out.given_up = *given_up;
  return out;
}

bool get_spaces(Reader& in, Books& books) {
  return get_list(in, [&] {
    const auto id = in.u64();
    if (!id) return false;
    auto space = get_space(in);
    if (!space) return false;
    count(books, space->owner, [&](Holding& sum) {
      ++sum.spaces;
      sum.objects += static_cast<std::uint32_t>(space->objects.size());
      for (const auto& [handle, object] : space->objects) sum.bytes += object.context.size();
    });
    return append(books.spaces, SpaceId{*id}, std::move(*space));
  });
}

bool get_sessions(Reader& in, Books& books) {
  return get_list(in, [&] {
    auto session = get_session(in);
    if (!session) return false;
    const std::uint32_t number = wire::number_of(session->handle);
    return append(books.sessions, number, std::move(*session));
  });
}

bool get_slots(Reader& in, Books& books) {
  return get_list(in, [&] {
    const auto tpm = in.u32();
    const auto space = in.u64();
    const auto object = in.u32();
    if (!tpm || !space || !object) return false;
    books.slots.push_back(Slot{wire::TpmHandle{*tpm}, SpaceId{*space}, wire::ClientHandle{*object}});
    return true;
  });
}

bool get_unwanted(Reader& in, Books& books) {
  return get_list(in, [&] {
    const auto handle = in.u32();
    const auto loaded = get_flag(in);
    const auto sequence = in.u64();
    if (!handle || !loaded || !sequence) return false;
    books.unwanted_sessions.push_back(UnwantedSession{*handle, *loaded, *sequence});
    return true;
  });
}

}  // namespace

SpaceId open_space(Books& books, OwnerId owner, const SpaceLimits& limits) {
  const SpaceId id{++books.last_space};
  Space space;
  space.owner = owner;
  space.limits = limits;
  books.spaces.emplace(id, std::move(space));
  count(books, owner, [](Holding& sum) { ++sum.spaces; });
  return id;
}

void erase_space(Books& books, SpaceId id) {
  const OwnerId owner = books.spaces.at(id).owner;
  while (!books.spaces.at(id).objects.empty())
    erase_object(books, id, wire::ClientHandle{books.spaces.at(id).objects.begin()->first});
  books.spaces.erase(id);
  count(books, owner, [](Holding& sum) { --sum.spaces; });
  if (books.holdings[owner].spaces == 0) books.holdings.erase(owner);
}

void add_object(Books& books, SpaceId id, wire::ClientHandle handle, Object object) {
  Space& space = books.spaces.at(id);
  count(books, space.owner, [&](Holding& sum) {
    ++sum.objects;
    sum.bytes += object.context.size();
  });
  space.objects.emplace(handle.value, std::move(object));
}

void erase_object(Books& books, SpaceId id, wire::ClientHandle handle) {
  Space& space = books.spaces.at(id);
  const auto it = space.objects.find(handle.value);
  if (it == space.objects.end()) return;
  count(books, space.owner, [&](Holding& sum) {
    --sum.objects;
    sum.bytes -= it->second.context.size();
  });
  space.objects.erase(it);
}

void set_context(Books& books, SpaceId id, wire::ClientHandle handle, Bytes context) {
  Space& space = books.spaces.at(id);
  Object& object = space.objects.at(handle.value);
  count(books, space.owner, [&](Holding& sum) { sum.bytes = sum.bytes - object.context.size() + context.size(); });
  object.context = std::move(context);
}

const Slot* slot_of(const Books& books, SpaceId space, wire::ClientHandle object) {
  for (const auto& slot : books.slots)
    if (slot.space == space && slot.object == object) return &slot;
  return nullptr;
}

Session* usable_session(Books& books, SpaceId space, std::uint32_t handle) {
  const auto it = books.sessions.find(wire::number_of(handle));
  if (it == books.sessions.end() || it->second.space != space || it->second.client_saved) return nullptr;
  return &it->second;
}

std::uint32_t loaded_sessions(const Books& books) {
  std::uint32_t loaded = 0;
  for (const auto& [number, session] : books.sessions) loaded += session.loaded() ? 1U : 0U;
  for (const auto& unwanted : books.unwanted_sessions) loaded += unwanted.loaded ? 1U : 0U;
  return loaded;
}

std::map<SpaceId, std::uint32_t> sessions_by_space(const Books& books) {
  std::map<SpaceId, std::uint32_t> out;
  for (const auto& [number, session] : books.sessions) ++out[session.space];
  return out;
}

bool make_unwanted(Books& books, std::uint32_t number) {
  const auto it = books.sessions.find(number);
  if (it == books.sessions.end()) return false;
  const Session& session = it->second;
  books.unwanted_sessions.push_back(UnwantedSession{session.handle, session.loaded(), session.sequence});
  books.sessions.erase(it);
  return true;
}

std::optional<std::string> check(const Books& books, const Chip& chip) {
  if (auto wrong = check_slots(books, chip)) return wrong;
  if (auto wrong = check_objects(books)) return wrong;
  if (auto wrong = check_holdings(books)) return wrong;
  if (auto wrong = check_tombstones(books, chip)) return wrong;
  return check_sessions(books, chip);
}

Bytes encode(const Books& books) {
  Writer out;
  out.u32(kImageVersion);
  out.u32(static_cast<std::uint32_t>(books.spaces.size()));
  for (const auto& [id, space] : books.spaces) {
    out.u64(id.value);
    put(out, space);
  }
  out.u32(static_cast<std::uint32_t>(books.sessions.size()));
  for (const auto& [number, session] : books.sessions) put(out, session);
  out.u32(static_cast<std::uint32_t>(books.slots.size()));
  for (const auto& slot : books.slots) out.u32(slot.tpm.value).u64(slot.space.value).u32(slot.object.value);
  out.u32(static_cast<std::uint32_t>(books.unwanted_sessions.size()));
  for (const auto& unwanted : books.unwanted_sessions)
    out.u32(unwanted.handle).u8(unwanted.loaded ? std::uint8_t{1} : std::uint8_t{0}).u64(unwanted.sequence);
  out.u64(books.tick)
      .u64(books.last_space)
      .u64(books.newest_sequence)
      .u64(books.reclaims)
      .u32(books.reset_count)
      .u32(books.restart_count);
  out.u8(books.in_doubt ? std::uint8_t{1} : std::uint8_t{0});
  return out.take();
}

std::optional<Books> decode(ByteView image) {
  Reader in(image);
  Books out;
  if (in.u32() != kImageVersion) return std::nullopt;
  if (!get_spaces(in, out) || !get_sessions(in, out)) return std::nullopt;
  if (!get_slots(in, out) || !get_unwanted(in, out)) return std::nullopt;
  const auto tick = in.u64(), last_space = in.u64(), newest = in.u64(), reclaims = in.u64();
  const auto reset = in.u32(), restart = in.u32();
  const auto in_doubt = get_flag(in);
  if (!tick || !last_space || !newest || !reclaims || !reset || !restart || !in_doubt || !in.empty())
    return std::nullopt;
  out.tick = *tick;
  out.last_space = *last_space;
  out.newest_sequence = *newest;
  out.reclaims = *reclaims;
  out.reset_count = *reset;
  out.restart_count = *restart;
  out.in_doubt = *in_doubt;
  return out;
}

}  // namespace tpmspace::space
