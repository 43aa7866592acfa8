// The books as bytes, and back.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "books/books.h"

namespace tpmspace::space {

using wire::Bytes;
using wire::ByteView;
using wire::Reader;
using wire::Writer;

namespace {

// The image: a version, then every field in the order of the declarations.
constexpr std::uint32_t kImageVersion = 7;

std::uint8_t flag(bool set) {
  return set ? 1 : 0;
}

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
  out.u8(flag(object.sequence))
      .u8(static_cast<std::uint8_t>(object.counts_misses))
      .u64(object.last_use)
      .u64(object.seen_at)
      .u64(object.used_at)
      .u64(object.made_by)
      .u64(object.twin);
  put_blob(out, object.context);
}

// Entries are sorted by key, without duplicates: equal books have one image.
template <typename Map, typename Key, typename Value>
bool append(Map& map, const Key& key, Value value) {
  if (!map.empty() && !(map.rbegin()->first < key)) return false;
  map.emplace_hint(map.end(), key, std::move(value));
  return true;
}

// Any value but 0 and 1 makes the image invalid.
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
  const auto counts_misses = in.u8();
  const auto last_use = in.u64(), seen_at = in.u64(), used_at = in.u64(), made_by = in.u64(), twin = in.u64();
  auto context = get_blob(in);
  if (!sequence || !counts_misses || !last_use || !seen_at || !used_at || !made_by || !twin || !context)
    return std::nullopt;
  if (*counts_misses > static_cast<std::uint8_t>(CountsMisses::kYes)) return std::nullopt;
  out.sequence = *sequence;
  out.counts_misses = static_cast<CountsMisses>(*counts_misses);
  out.last_use = *last_use;
  out.seen_at = *seen_at;
  out.used_at = *used_at;
  out.made_by = *made_by;
  out.twin = *twin;
  out.context = std::move(*context);
  return out;
}

constexpr std::array kNumbersOfView = {&View::commands, &View::persistent, &View::nv, &View::pcrs};

void put(Writer& out, const wire::Numbers& numbers) {
  out.u32(static_cast<std::uint32_t>(numbers.ranges().size()));
  for (const auto& range : numbers.ranges()) out.u32(range.first).u32(range.last);
}

void put(Writer& out, const View& view) {
  for (const auto numbers : kNumbersOfView) put(out, view.*numbers);
  out.u32(view.persistent_base);
}

// A set has one form (wire/numbers.h); any other form makes the image invalid.
std::optional<wire::Numbers> get_numbers(Reader& in) {
  std::vector<wire::Numbers::Range> ranges;
  const bool complete = get_list(in, [&] {
    const auto first = in.u32(), last = in.u32();
    if (!first || !last || *first > *last) return false;
    if (!ranges.empty() && *first <= std::uint64_t{ranges.back().last} + 1) return false;
    ranges.push_back({*first, *last});
    return true;
  });
  return complete ? std::optional(wire::Numbers(std::move(ranges))) : std::nullopt;
}

std::optional<View> get_view(Reader& in) {
  View out;
  for (const auto numbers : kNumbersOfView) {
    auto read = get_numbers(in);
    if (!read) return std::nullopt;
    out.*numbers = std::move(*read);
  }
  const auto base = in.u32();
  if (!base) return std::nullopt;
  out.persistent_base = *base;
  return out;
}

std::optional<Pool> get_pool(Reader& in) {
  const auto id = in.u64();
  const auto sessions = in.u32(), objects = in.u32();
  const auto bytes = in.u64();
  if (!id || !sessions || !objects || !bytes) return std::nullopt;
  return Pool{PoolId{*id}, *sessions, *objects, *bytes};
}

void put(Writer& out, const SpaceLimits& limits) {
  const SessionTerms& terms = limits.terms;
  out.u32(limits.objects).u32(limits.sessions).u32(terms.claim);
  out.u64(terms.lease).u64(terms.tenure).u64(terms.deadline).u8(static_cast<std::uint8_t>(terms.exhaustion));
  out.u8(flag(limits.administers))
      .u8(flag(limits.shares_tries))
      .u64(limits.part.user)
      .u64(limits.part.connection)
      .u32(limits.share)
      .u8(limits.priority)
      .u16(static_cast<std::uint16_t>(limits.may_be.size()));
  for (const OwnerId one : limits.may_be) out.u64(one.value);
  for (const Pool& pool : limits.pools) out.u64(pool.id.value).u32(pool.sessions).u32(pool.objects).u64(pool.bytes);
  out.u8(flag(limits.view != nullptr));
  if (limits.view) put(out, *limits.view);
  out.u8(flag(limits.pins != nullptr));
  if (limits.pins) put(out, *limits.pins);
}

// An optional value. False: the presence flag or the value is invalid.
template <typename T>
bool get_shared(Reader& in, std::optional<T> (*get)(Reader&), std::shared_ptr<const T>& out) {
  const auto is_there = get_flag(in);
  if (!is_there || !*is_there) return is_there.has_value();
  auto value = get(in);
  if (value) out = std::make_shared<const T>(std::move(*value));
  return value.has_value();
}

std::optional<SpaceLimits> get_limits(Reader& in) {
  const auto objects = in.u32(), sessions = in.u32(), claim = in.u32();
  const auto lease = in.u64(), tenure = in.u64(), deadline = in.u64();
  const auto exhaustion = in.u8();
  const auto administers = get_flag(in), shares_tries = get_flag(in);
  const auto user = in.u64(), connection = in.u64();
  const auto share = in.u32();
  const auto priority = in.u8();
  const auto owners = in.u16();
  if (!objects || !sessions || !claim || !lease || !tenure || !deadline || !exhaustion) return std::nullopt;
  if (!administers || !shares_tries || !user || !connection || !share || *share == 0 || !owners) return std::nullopt;
  if (*exhaustion > static_cast<std::uint8_t>(Exhaustion::kClose)) return std::nullopt;
  SpaceLimits out;
  out.objects = *objects;
  out.sessions = *sessions;
  out.terms = SessionTerms{*claim, *lease, *tenure, *deadline, static_cast<Exhaustion>(*exhaustion)};
  out.administers = *administers;
  out.shares_tries = *shares_tries;
  out.part = {*user, *connection};
  out.share = *share;
  out.priority = *priority;
  for (unsigned i = 0; i < *owners; ++i) {
    const auto one = in.u64();
    if (!one) return std::nullopt;
    out.may_be.push_back(OwnerId{*one});
  }
  for (Pool& pool : out.pools) {
    const auto read = get_pool(in);
    if (!read) return std::nullopt;
    pool = *read;
  }
  return get_shared(in, get_view, out.view) && get_shared(in, get_numbers, out.pins) ? std::optional(std::move(out))
                                                                                     : std::nullopt;
}

void put(Writer& out, const Space& space) {
  out.u64(space.owner.value);
  put(out, space.limits);
  out.u32(static_cast<std::uint32_t>(space.objects.size()));
  for (const auto& [handle, object] : space.objects) {
    out.u32(handle);
    put(out, object);
  }
  out.u32(static_cast<std::uint32_t>(space.taken_objects.size()));
  for (const std::uint32_t handle : space.taken_objects) out.u32(handle);
  out.u32(static_cast<std::uint32_t>(space.tombstones.size()));
  for (const auto& [number, stone] : space.tombstones) out.u32(number).u64(stone.order).u8(flag(stone.told));
  out.u8(flag(space.given_up));
}

void put(Writer& out, const PolicyLog& log) {
  out.u8(static_cast<std::uint8_t>(log.rebuildable)).u16(log.hash);
  out.u8(flag(log.decrypts));
  out.u8(flag(log.password));
  out.u8(flag(log.auth_value));
  put_blob(out, log.start);
  out.u32(static_cast<std::uint32_t>(log.steps.size()));
  for (const PolicyStep& step : log.steps) {
    out.u32(step.code).u32(step.key);
    put_blob(out, step.parameters);
    put_blob(out, step.key_context);
  }
  put_blob(out, log.digest);
  out.u32(log.pcr_counter);
  out.u8(flag(log.pcr_changed));
}

void put(Writer& out, const Session& session) {
  out.u32(session.handle).u32(session.client.value).u8(static_cast<std::uint8_t>(session.kind));
  out.u64(session.owner.value)
      .u64(session.part.user)
      .u64(session.part.connection)
      .u64(session.space.value)
      .u8(flag(session.client_saved));
  for (const PoolId pool : session.left_pools) out.u64(pool.value);
  out.u64(session.sequence).raw(session.client_copy).u64(session.last_use);
  out.u64(session.started_at).u64(session.used_at).u64(session.lease).u64(session.tenure);
  out.u64(session.served_at).u64(session.seen_at);
  out.u8(flag(session.asked_authority));
  out.u8(flag(session.bound_to_what_counts));
  out.u8(flag(session.reserved));
  out.u8(flag(session.stale));
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
  const auto decrypts = get_flag(in), password = get_flag(in), auth_value = get_flag(in);
  auto start = get_blob(in);
  if (!rebuildable || *rebuildable > static_cast<std::uint8_t>(Rebuildable::kFull)) return std::nullopt;
  if (!hash || !decrypts || !password || !auth_value || !start) return std::nullopt;
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
  out.auth_value = *auth_value;
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
  const auto owner = in.u64(), user = in.u64(), connection = in.u64(), space = in.u64();
  const auto client_saved = get_flag(in);
  for (PoolId& pool : out.left_pools) {
    const auto left = in.u64();
    if (!left) return std::nullopt;
    pool = PoolId{*left};
  }
  const auto sequence = in.u64();
  const auto client_copy = in.take(out.client_copy.size());
  const auto last_use = in.u64(), started_at = in.u64(), used_at = in.u64(), lease = in.u64(), tenure = in.u64();
  const auto served_at = in.u64(), seen_at = in.u64();
  const auto asked_authority = get_flag(in), bound_to_what_counts = get_flag(in), reserved = get_flag(in);
  const auto stale = get_flag(in);
  auto context = get_blob(in), nonce = get_blob(in);
  auto log = get_log(in);
  if (!handle || !client || !kind || !owner || !user || !connection || !space || !client_saved || !sequence ||
      !client_copy)
    return std::nullopt;
  if (!last_use || !started_at || !used_at || !lease || !tenure || !served_at || !seen_at || !asked_authority ||
      !reserved)
    return std::nullopt;
  if (!bound_to_what_counts || !stale || !context || !nonce || !log) return std::nullopt;
  out.handle = *handle;
  out.client = wire::ClientHandle{*client};
  out.kind = *kind;
  out.owner = OwnerId{*owner};
  out.part = {*user, *connection};
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
  out.seen_at = *seen_at;
  out.asked_authority = *asked_authority;
  out.bound_to_what_counts = *bound_to_what_counts;
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
  const bool taken = objects && get_list(in, [&] {
                       const auto handle = in.u32();
                       const bool in_order =
                           handle && (out.taken_objects.empty() || *out.taken_objects.rbegin() < *handle);
                       if (in_order) out.taken_objects.insert(*handle);
                       return in_order;
                     });
  const bool tombstones = taken && get_list(in, [&] {
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
    if (!id || (!books.spaces.empty() && books.spaces.rbegin()->first.value >= *id)) return false;
    auto space = get_space(in);
    return space && adopt_space(books, SpaceId{*id}, std::move(*space));
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

// The usable sessions, then the files; each kind sorted by key.
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
    const auto left_by = in.u64();
    if (!tpm || !space || !object || !left_by) return false;
    books.slots.push_back(Slot{wire::TpmHandle{*tpm}, SpaceId{*space}, wire::ClientHandle{*object}, OwnerId{*left_by}});
    return true;
  });
}

bool get_unwanted(Reader& in, Books& books) {
  return get_list(in, [&] {
    const auto handle = in.u32();
    const auto loaded = get_flag(in);
    const auto sequence = in.u64();
    const auto left_by = in.u64();
    if (!handle || !loaded || !sequence || !left_by) return false;
    books.unwanted_sessions.push_back(UnwantedSession{*handle, *loaded, *sequence, OwnerId{*left_by}});
    return true;
  });
}

}  // namespace

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
  for (const auto& slot : books.slots)
    out.u32(slot.tpm.value).u64(slot.space.value).u32(slot.object.value).u64(slot.left_by.value);
  out.u32(static_cast<std::uint32_t>(books.unwanted_sessions.size()));
  for (const auto& unwanted : books.unwanted_sessions)
    out.u32(unwanted.handle).u8(flag(unwanted.loaded)).u64(unwanted.sequence).u64(unwanted.left_by.value);
  out.u64(books.tick)
      .u64(books.last_space)
      .u64(books.newest_sequence)
      .u64(books.reclaims)
      .u64(books.last_token)
      .u64(books.last_twin)
      .u32(books.reset_count)
      .u32(books.restart_count);
  out.u8(flag(books.in_doubt)).u64(books.doubted_at).u64(books.counters_read_at);
  return out.take();
}

std::optional<Books> decode(ByteView image) {
  Reader in(image);
  Books out;
  if (in.u32() != kImageVersion) return std::nullopt;
  if (!get_spaces(in, out) || !get_sessions(in, out) || !get_parked(in, out)) return std::nullopt;
  if (!get_slots(in, out) || !get_unwanted(in, out)) return std::nullopt;
  const auto tick = in.u64(), last_space = in.u64(), newest = in.u64(), reclaims = in.u64();
  const auto last_token = in.u64(), last_twin = in.u64();
  const auto reset = in.u32(), restart = in.u32();
  const auto in_doubt = get_flag(in);
  const auto doubted_at = in.u64(), counters_read_at = in.u64();
  if (!tick || !last_space || !newest || !reclaims || !last_token || !last_twin || !reset || !restart || !in_doubt ||
      !doubted_at || !counters_read_at || !in.empty())
    return std::nullopt;
  out.tick = *tick;
  out.last_space = *last_space;
  out.newest_sequence = *newest;
  out.reclaims = *reclaims;
  out.last_token = *last_token;
  out.last_twin = *last_twin;
  out.reset_count = *reset;
  out.restart_count = *restart;
  out.in_doubt = *in_doubt;
  out.doubted_at = *doubted_at;
  out.counters_read_at = *counters_read_at;
  return out;
}

}  // namespace tpmspace::space
