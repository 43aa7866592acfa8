#include "proto/sessions.h"

#include <algorithm>

#include "proto/overloaded.h"
#include "proto/text.h"

namespace tpmspace::proto {
namespace {

constexpr std::uint8_t kThese = 1, kAbandonedOnes = 2, kOfOwner = 3, kReserve = 4, kRelease = 5;

void put(wire::Writer& out, const Tenant& tenant) {
  put_string(out, tenant.tpm_namespace);
  put_string(out, tenant.listener);
}

void put(wire::Writer& out, const SessionEntry& entry) {
  out.u32(entry.handle).u8(static_cast<std::uint8_t>(entry.kind)).u8(static_cast<std::uint8_t>(entry.state));
  out.u32(entry.uid).u64(entry.connection).u64(entry.age).u64(entry.idle).u64(entry.lease);
  out.u8(static_cast<std::uint8_t>(entry.rebuildable)).u8(entry.parked ? 1 : 0);
  put(out, entry.tenant);
}
void put(wire::Writer& out, const WaitingEntry& entry) {
  out.u32(entry.uid).u64(entry.connection).u64(entry.waited).u64(entry.left);
  put(out, entry.tenant);
}

// They go to people's terminals.
bool is_possible(const std::string& name) {
  return name.size() <= Tenant::kLongestName &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
}

bool get(wire::Reader& reader, Tenant& tenant) {
  if (reader.empty()) return true;
  const auto tpm_namespace = get_string(reader), listener = get_string(reader);
  if (!tpm_namespace || !listener || !is_possible(*tpm_namespace) || !is_possible(*listener)) return false;
  tenant = {*tpm_namespace, *listener};
  return true;
}

bool get(wire::Reader& reader, SessionEntry& entry) {
  const auto handle = reader.u32();
  const auto kind = reader.u8(), state = reader.u8();
  const auto uid = reader.u32();
  const auto connection = reader.u64(), age = reader.u64(), idle = reader.u64(), lease = reader.u64();
  const auto rebuildable = reader.u8(), parked = reader.u8();
  // A shorter integer may be there where a longer one was not.
  if (!handle || !kind || !state || !uid || !connection || !age || !idle || !lease || !rebuildable || !parked)
    return false;
  entry = {*handle, SessionKind{*kind},        SessionState{*state}, *uid, *connection, *age, *idle,
           *lease,  Rebuildable{*rebuildable}, *parked != 0,         {}};
  return get(reader, entry.tenant);
}
bool get(wire::Reader& reader, WaitingEntry& entry) {
  const auto uid = reader.u32();
  const auto connection = reader.u64(), waited = reader.u64(), left = reader.u64();
  if (!uid || !connection || !waited || !left) return false;
  entry = {*uid, *connection, *waited, *left, {}};
  return get(reader, entry.tenant);
}

template <typename Entry>
void put_records(wire::Writer& out, const std::vector<Entry>& entries) {
  const std::size_t n = std::min(entries.size(), kMaxRecords);
  out.u16(static_cast<std::uint16_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    wire::Writer record;
    put(record, entries[i]);
    out.tpm2b(record.bytes());
  }
}

template <typename Entry>
bool get_records(wire::Reader& reader, std::vector<Entry>& entries) {
  const auto n = reader.u16();
  if (!n || *n > kMaxRecords) return false;
  for (std::size_t i = 0; i < *n; ++i) {
    const auto record = reader.tpm2b();
    if (!record) return false;
    wire::Reader inside(*record);
    if (!get(inside, entries.emplace_back())) return false;
  }
  return true;
}

}  // namespace

wire::Bytes encode_sessions(const Sessions& sessions) {
  wire::Writer out;
  out.u16(kSessionsVersion).u32(sessions.hidden_sessions).u32(sessions.hidden_waiting).u32(sessions.more_waiting);
  out.u32(sessions.more_parked);
  put_records(out, sessions.sessions);
  put_records(out, sessions.waiting);
  return out.take();
}

std::optional<Sessions> decode_sessions(wire::ByteView body) {
  wire::Reader reader(body);
  if (!has_version(reader, kSessionsVersion)) return std::nullopt;
  const auto hidden_sessions = reader.u32(), hidden_waiting = reader.u32(), more_waiting = reader.u32();
  const auto more_parked = reader.u32();
  if (!more_parked) return std::nullopt;
  Sessions out;
  out.hidden_sessions = *hidden_sessions;
  out.hidden_waiting = *hidden_waiting;
  out.more_waiting = *more_waiting;
  out.more_parked = *more_parked;
  if (!get_records(reader, out.sessions) || !get_records(reader, out.waiting)) return std::nullopt;
  return out;
}

wire::Bytes encode_flushed(const std::vector<SessionEntry>& sessions) {
  wire::Writer out;
  out.u16(kSessionsVersion);
  put_records(out, sessions);
  return out.take();
}

std::optional<std::vector<SessionEntry>> decode_flushed(wire::ByteView body) {
  wire::Reader reader(body);
  std::vector<SessionEntry> out;
  if (!has_version(reader, kSessionsVersion) || !get_records(reader, out)) return std::nullopt;
  return out;
}

wire::Bytes encode_order(const SessionOrder& what) {
  wire::Writer out;
  std::visit(Overloaded{
                 [&](const FlushThese& these) {
                   const std::size_t n = std::min(these.handles.size(), kMaxHandles);
                   out.u8(kThese).u16(static_cast<std::uint16_t>(n));
                   for (std::size_t i = 0; i < n; ++i) out.u32(these.handles[i]);
                 },
                 [&](const FlushAbandoned&) { out.u8(kAbandonedOnes); },
                 [&](const FlushOwner& owner) { out.u8(kOfOwner).u32(owner.uid); },
                 [&](const ReserveThis& one) { out.u8(one.reserved ? kReserve : kRelease).u32(one.handle); },
             },
             what);
  return out.take();
}

std::optional<SessionOrder> decode_order(wire::ByteView body) {
  wire::Reader reader(body);
  const auto what = reader.u8();
  SessionOrder out;
  if (what == kThese) {
    const auto n = reader.u16();
    if (!n || *n > kMaxHandles || reader.remaining() != *n * sizeof(std::uint32_t)) return std::nullopt;
    FlushThese these;
    for (std::size_t i = 0; i < *n; ++i) these.handles.push_back(reader.u32().value_or(0));
    out = std::move(these);
  } else if (what == kOfOwner) {
    const auto uid = reader.u32();
    if (!uid) return std::nullopt;
    out = FlushOwner{*uid};
  } else if (const bool keeps = what == kReserve; keeps || what == kRelease) {
    const auto handle = reader.u32();
    if (!handle) return std::nullopt;
    out = ReserveThis{*handle, keeps};
  } else if (what == kAbandonedOnes) {
    out = FlushAbandoned{};
  } else {
    return std::nullopt;
  }
  if (!reader.empty()) return std::nullopt;
  return out;
}

}  // namespace tpmspace::proto
