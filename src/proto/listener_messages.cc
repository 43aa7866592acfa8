#include "proto/listener_messages.h"

#include <algorithm>

#include "proto/text.h"

namespace tpmspace::proto {
namespace {

constexpr std::uint8_t kAdd = 1, kRemove = 2;

void put(wire::Writer& out, const ListenerEntry& listener) {
  put_string(out, listener.name);
  put_string(out, listener.path);
  out.u32(listener.mode).u32(listener.uid).u32(listener.gid);
  put_string(out, listener.profile);
  out.u8(listener.locality ? 1 : 0).u8(listener.locality.value_or(0));
  out.u32(listener.connections).u32(listener.limit).u8(listener.at_run_time ? 1 : 0);
  put_string(out, listener.chip);
  out.u8(listener.separate_users ? 1 : 0);
}

std::optional<ListenerEntry> get(wire::Reader& in) {
  auto name = get_string(in), path = get_string(in);
  const auto mode = in.u32(), uid = in.u32(), gid = in.u32();
  auto profile = get_string(in);
  const auto has_locality = in.u8(), locality = in.u8();
  const auto connections = in.u32(), limit = in.u32();
  const auto at_run_time = in.u8();
  auto chip = get_string(in);
  const auto separate_users = in.u8();
  const bool numbers =
      mode && uid && gid && has_locality && locality && connections && limit && at_run_time && separate_users;
  if (!name || !path || !profile || !chip || !numbers) return std::nullopt;
  // One form for each thing that can be said.
  if (*has_locality > 1 || *at_run_time > 1 || *separate_users > 1 || (*has_locality == 0 && *locality != 0))
    return std::nullopt;
  return ListenerEntry{.name = std::move(*name),
                       .path = std::move(*path),
                       .mode = *mode,
                       .uid = *uid,
                       .gid = *gid,
                       .profile = std::move(*profile),
                       .locality = *has_locality != 0 ? std::optional(*locality) : std::nullopt,
                       .connections = *connections,
                       .limit = *limit,
                       .at_run_time = *at_run_time != 0,
                       .chip = std::move(*chip),
                       .separate_users = *separate_users != 0};
}

}  // namespace

wire::Bytes encode_listeners(const std::vector<ListenerEntry>& listeners) {
  const std::size_t n = std::min(listeners.size(), kMaxListeners);
  wire::Writer out;
  out.u16(kListenersVersion).u16(static_cast<std::uint16_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    wire::Writer record;
    put(record, listeners[i]);
    record.u8(listeners[i].chip_lost ? 1 : 0);
    out.tpm2b(record.bytes());
  }
  return out.take();
}

std::optional<std::vector<ListenerEntry>> decode_listeners(wire::ByteView body) {
  wire::Reader in(body);
  const auto version = in.u16(), n = in.u16();
  if (!version || *version != kListenersVersion || !n || *n > kMaxListeners) return std::nullopt;
  std::vector<ListenerEntry> out;
  for (std::size_t i = 0; i < *n; ++i) {
    const auto record = in.tpm2b();
    if (!record) return std::nullopt;
    wire::Reader fields(*record);
    auto listener = get(fields);
    if (!listener) return std::nullopt;
    const auto chip_lost = fields.u8().value_or(0);
    if (chip_lost > 1) return std::nullopt;
    listener->chip_lost = chip_lost != 0;
    out.push_back(std::move(*listener));
  }
  return out;
}

wire::Bytes encode_listener_order(const ListenerOrder& order) {
  wire::Writer out;
  if (const auto* listener = std::get_if<ListenerEntry>(&order)) {
    put(out.u8(kAdd), *listener);
  } else {
    put_string(out.u8(kRemove), std::get<RemoveListener>(order).name);
  }
  return out.take();
}

std::optional<ListenerOrder> decode_listener_order(wire::ByteView body) {
  wire::Reader in(body);
  const auto what = in.u8();
  std::optional<ListenerOrder> out;
  if (what == kAdd) {
    if (auto listener = get(in)) out = std::move(*listener);
  } else if (what == kRemove) {
    if (auto name = get_string(in)) out = RemoveListener{std::move(*name)};
  }
  if (!in.empty()) return std::nullopt;
  return out;
}

wire::Bytes encode_outcome(const Outcome& outcome) {
  wire::Writer out;
  put_string(out.u8(outcome.done ? 1 : 0), outcome.sentence);
  return out.take();
}

std::optional<Outcome> decode_outcome(wire::ByteView body) {
  wire::Reader in(body);
  const auto done = in.u8();
  auto sentence = get_string(in);
  if (!done || !sentence) return std::nullopt;
  return Outcome{*done != 0, std::move(*sentence)};
}

}  // namespace tpmspace::proto
