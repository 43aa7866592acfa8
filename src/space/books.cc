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
      if (knows_number(books, id, number)) return "a space has a session under a number that was taken from it";
    }
  }
  return std::nullopt;
}

// What a parked session costs.
std::uint64_t size_of(const Session& session) {
  return sizeof(session) + session.nonce.size() + session.log.size();
}

// What is true of a session wherever it is.
std::optional<std::string> check_session(const Books& books, const Chip& chip, const Session& session) {
  if (!wire::is_session(session.handle)) return "a session's handle is not a session's";
  if (!wire::is_session(session.client.value)) return "a client knows a session by what is no session's handle";
  if (wire::number_of(session.client.value) >= chip.session_numbers)
    return "a client knows a session by a number that no session can have";
  if (wire::kind_of(session.handle) != wire::kind_of(session.client.value)) return "a session is of two kinds";
  if (session.last_use > books.tick) return "a session was used in the future";
  if (session.space.value == 0 && !session.client_saved) return "a session of nobody is not client-saved";
  if (wire::number_of(session.client.value) >= chip.session_numbers) return "a client knows an impossible number";
  if (!session.log.is_plausible()) return "nobody can make a session again as its log says";
  if (session.nonce.size() > kMaxNonce) return "a nonce is longer than any";
  if (session.space.value == 0) return std::nullopt;
  const auto space = books.spaces.find(session.space);
  if (space == books.spaces.end()) return "a session's space is not open";
  if (space->second.owner != session.owner) return "a session is in another owner's space";
  return std::nullopt;
}

std::optional<std::string> check_sessions(const Books& books, const Chip& chip) {
  std::set<ParkedKey> known;
  for (const auto& [number, session] : books.sessions) {
    if (auto wrong = check_session(books, chip, session)) return wrong;
    if (number != wire::number_of(session.handle)) return "a session is booked under another's number";
    if (session.reserved && !session.loaded()) return "a reserved session is not loaded";
    if (!session.client_saved && !known.insert({session.space, wire::number_of(session.client.value)}).second)
      return "a space knows two sessions by one number";
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

std::optional<std::string> check_parked(const Books& books, const Chip& chip) {
  std::map<OwnerId, ParkedSum> sums;
  ParkedSum all;
  const auto check_one = [&](const Session& session) -> std::optional<std::string> {
    if (auto wrong = check_session(books, chip, session)) return wrong;
    if (!session.can_be_made_again()) return "a parked session cannot be made again";
    if (!session.context.empty()) return "a parked session has a context in the TPM";
    for (ParkedSum* sum : {&sums[session.owner], &all}) {
      ++sum->sessions;
      sum->bytes += size_of(session);
    }
    return std::nullopt;
  };
  for (const auto& [key, session] : books.parked) {
    if (auto wrong = check_one(session)) return wrong;
    if (session.client_saved) return "a client-saved session is parked as usable";
    if (key.space != session.space || key.number != wire::number_of(session.client.value))
      return "a session is parked under another's number";
    for (const auto& [number, active] : books.sessions)
      if (!active.client_saved && active.space == key.space && wire::number_of(active.client.value) == key.number)
        return "a session is parked and in the TPM";
  }
  for (const auto& [copy, session] : books.parked_files) {
    if (auto wrong = check_one(session)) return wrong;
    if (!session.client_saved || session.client_copy != copy) return "a parked file is not client-saved";
  }
  if (sums != books.parked_by_owner || all != books.parked_in_all) return "what owners have parked is not added up";
  return std::nullopt;
}

// The image: a version, then every field in the order of the declarations.
constexpr std::uint32_t kImageVersion = 3;

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

template <typename Each>
bool get_list(Reader& in, Each each) {
  const auto count = in.u32();
  if (!count) return false;
  for (std::uint32_t i = 0; i < *count; ++i)
    if (!each()) return false;
  return true;
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

void put_flag(Writer& out, bool flag) {
  out.u8(flag ? std::uint8_t{1} : std::uint8_t{0});
}

void put(Writer& out, const PolicyLog& log) {
  out.u8(static_cast<std::uint8_t>(log.rebuildable)).u16(log.hash);
  put_flag(out, log.decrypts);
  put_flag(out, log.password);
  put_blob(out, log.start);
  out.u32(static_cast<std::uint32_t>(log.steps.size()));
  for (const PolicyStep& step : log.steps) {
    out.u32(step.code).u32(step.key);
    put_blob(out, step.parameters);
    put_blob(out, step.key_context);
  }
  put_blob(out, log.digest);
  out.u32(log.pcr_counter);
  put_flag(out, log.pcr_changed);
}

void put(Writer& out, const Session& session) {
  out.u32(session.handle).u32(session.client.value).u8(static_cast<std::uint8_t>(session.kind));
  out.u64(session.owner.value).u64(session.space.value).u8(session.client_saved ? std::uint8_t{1} : std::uint8_t{0});
  out.u64(session.sequence).raw(session.client_copy).u64(session.last_use);
  out.u64(session.started_at).u64(session.used_at).u64(session.lease).u64(session.tenure);
  out.u64(session.served_at);
  put_flag(out, session.asked_authority);
  put_flag(out, session.reserved);
  put_flag(out, session.stale);
  put_blob(out, session.context);
  put_blob(out, session.nonce);
  put(out, session.log);
}

std::optional<SessionKind> get_kind(Reader& in) {
  const auto value = in.u8();
  if (!value || *value > 3 || *value == 2) return std::nullopt;
  return static_cast<SessionKind>(*value);
}

std::optional<PolicyStep> get_step(Reader& in) {
  PolicyStep out;
  const auto code = in.u32(), key = in.u32();
  auto parameters = get_blob(in), key_context = get_blob(in);
  if (!code || !key || !parameters || !key_context) return std::nullopt;
  out.code = *code;
  out.key = *key;
  out.parameters = std::move(*parameters);
  out.key_context = std::move(*key_context);
  return out;
}

std::optional<PolicyLog> get_log(Reader& in) {
  PolicyLog out;
  const auto rebuildable = in.u8();
  const auto hash = in.u16();
  const auto decrypts = get_flag(in), password = get_flag(in);
  auto start = get_blob(in);
  if (!rebuildable || *rebuildable > static_cast<std::uint8_t>(Rebuildable::kFull)) return std::nullopt;
  if (!hash || !decrypts || !password || !start) return std::nullopt;
  const bool steps = get_list(in, [&] {
    auto step = get_step(in);
    if (step) out.steps.push_back(std::move(*step));
    return step.has_value();
  });
  auto digest = get_blob(in);
  const auto counter = in.u32();
  const auto changed = get_flag(in);
  if (!steps || !digest || !counter || !changed) return std::nullopt;
  out.rebuildable = static_cast<Rebuildable>(*rebuildable);
  out.hash = *hash;
  out.decrypts = *decrypts;
  out.password = *password;
  out.start = std::move(*start);
  out.digest = std::move(*digest);
  out.pcr_counter = *counter;
  out.pcr_changed = *changed;
  return out;
}

std::optional<Session> get_session(Reader& in) {
  Session out;
  const auto handle = in.u32(), client = in.u32();
  const auto kind = get_kind(in);
  const auto owner = in.u64(), space = in.u64();
  const auto client_saved = get_flag(in);
  const auto sequence = in.u64();
  const auto client_copy = in.take(out.client_copy.size());
  const auto last_use = in.u64(), started_at = in.u64(), used_at = in.u64(), lease = in.u64(), tenure = in.u64();
  const auto served_at = in.u64();
  const auto asked_authority = get_flag(in), reserved = get_flag(in), stale = get_flag(in);
  auto context = get_blob(in), nonce = get_blob(in);
  auto log = get_log(in);
  if (!handle || !client || !kind || !owner || !space || !client_saved || !sequence || !client_copy)
    return std::nullopt;
  if (!last_use || !started_at || !used_at || !lease || !tenure || !served_at || !asked_authority || !reserved)
    return std::nullopt;
  if (!stale || !context || !nonce || !log) return std::nullopt;
  out.handle = *handle;
  out.client = wire::ClientHandle{*client};
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
  out.reserved = *reserved;
  out.stale = *stale;
  out.context = std::move(*context);
  out.nonce = std::move(*nonce);
  out.log = std::move(*log);
  out.log.trial = out.kind == SessionKind::kTrial;  // not in the image twice
  return out;
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

// Those that are usable, then the files; each kind in the order of its keys.
bool get_parked(Reader& in, Books& books) {
  return get_list(in, [&] {
    auto session = get_session(in);
    if (!session) return false;
    const ParkedKey key{session->space, wire::number_of(session->client.value)};
    const bool in_order =
        session->client_saved
            ? books.parked_files.empty() || books.parked_files.rbegin()->first < session->client_copy
            : books.parked_files.empty() && (books.parked.empty() || books.parked.rbegin()->first < key);
    if (in_order) add_parked(books, std::move(*session));
    return in_order;
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

bool knows_number(const Books& books, SpaceId space, std::uint32_t number) {
  if (books.parked.count({space, number}) != 0) return true;
  return std::any_of(books.sessions.begin(), books.sessions.end(), [&](const auto& entry) {
    const Session& session = entry.second;
    return session.space == space && !session.client_saved && wire::number_of(session.client.value) == number;
  });
}

bool is_taken_in(const Books& books, SpaceId space, std::uint32_t number) {
  const auto is_it = [&](const auto& entry) {
    return entry.second.space == space && wire::number_of(entry.second.client.value) == number;
  };
  return books.spaces.at(space).tombstones.count(number) != 0 || books.parked.count({space, number}) != 0 ||
         std::any_of(books.sessions.begin(), books.sessions.end(), is_it) ||
         std::any_of(books.parked_files.begin(), books.parked_files.end(), is_it);
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
  Space& space = books.spaces.at(session.space);
  if (space.tombstones.size() >= kMaxTombstones) retire_tombstone(space);
  space.tombstones[wire::number_of(session.client.value)] = Tombstone{++books.reclaims, false};
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
  for (const auto& [copy, session] : books.parked_files) out += session.space == space ? 1U : 0U;
  return out;
}

namespace {

void count_parked(Books& books, const Session& session, bool more) {
  const auto change = [&](ParkedSum& sum) {
    const std::uint64_t bytes = size_of(session);
    sum.sessions = more ? sum.sessions + 1 : sum.sessions - 1;
    sum.bytes = more ? sum.bytes + bytes : sum.bytes - bytes;
  };
  ParkedSum& of_owner = books.parked_by_owner[session.owner];
  change(of_owner);
  change(books.parked_in_all);
  if (of_owner.sessions == 0) books.parked_by_owner.erase(session.owner);
}

}  // namespace

void add_parked(Books& books, Session session) {
  count_parked(books, session, true);
  if (session.client_saved) {
    const ContextDigest copy = session.client_copy;
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
  return std::move(node.mapped());
}

void drop_parked_of(Books& books, SpaceId space) {
  for (auto it = books.parked.lower_bound({space, 0}); it != books.parked.end() && it->first.space == space;)
    (void)take_parked(books, (it++)->first);
}

void forget_parked(Books& books) {
  books.parked.clear();
  books.parked_files.clear();
  books.parked_by_owner.clear();
  books.parked_in_all = {};
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

std::optional<std::string> check(const Books& books, const Chip& chip) {
  if (auto wrong = check_slots(books, chip)) return wrong;
  if (auto wrong = check_objects(books)) return wrong;
  if (auto wrong = check_holdings(books)) return wrong;
  if (auto wrong = check_tombstones(books, chip)) return wrong;
  if (auto wrong = check_sessions(books, chip)) return wrong;
  return check_parked(books, chip);
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
  out.u32(static_cast<std::uint32_t>(books.parked.size() + books.parked_files.size()));
  for (const auto& [key, session] : books.parked) put(out, session);
  for (const auto& [copy, session] : books.parked_files) put(out, session);
  out.u32(static_cast<std::uint32_t>(books.slots.size()));
  for (const auto& slot : books.slots) out.u32(slot.tpm.value).u64(slot.space.value).u32(slot.object.value);
  out.u32(static_cast<std::uint32_t>(books.unwanted_sessions.size()));
  for (const auto& unwanted : books.unwanted_sessions)
    out.u32(unwanted.handle).u8(unwanted.loaded ? std::uint8_t{1} : std::uint8_t{0}).u64(unwanted.sequence);
  out.u64(books.tick)
      .u64(books.last_space)
      .u64(books.newest_sequence)
      .u64(books.reclaims)
      .u64(books.last_token)
      .u32(books.reset_count)
      .u32(books.restart_count);
  out.u8(books.in_doubt ? std::uint8_t{1} : std::uint8_t{0});
  return out.take();
}

std::optional<Books> decode(ByteView image) {
  Reader in(image);
  Books out;
  if (in.u32() != kImageVersion) return std::nullopt;
  if (!get_spaces(in, out) || !get_sessions(in, out) || !get_parked(in, out)) return std::nullopt;
  if (!get_slots(in, out) || !get_unwanted(in, out)) return std::nullopt;
  const auto tick = in.u64(), last_space = in.u64(), newest = in.u64(), reclaims = in.u64();
  const auto last_token = in.u64();
  const auto reset = in.u32(), restart = in.u32();
  const auto in_doubt = get_flag(in);
  if (!tick || !last_space || !newest || !reclaims || !last_token || !reset || !restart || !in_doubt || !in.empty())
    return std::nullopt;
  out.tick = *tick;
  out.last_space = *last_space;
  out.newest_sequence = *newest;
  out.reclaims = *reclaims;
  out.last_token = *last_token;
  out.reset_count = *reset;
  out.restart_count = *restart;
  out.in_doubt = *in_doubt;
  return out;
}

}  // namespace tpmspace::space
