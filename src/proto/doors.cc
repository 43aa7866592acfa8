#include "proto/doors.h"

#include <algorithm>

#include "proto/text.h"

namespace tpmspace::proto {
namespace {

constexpr std::uint8_t kAdd = 1, kRemove = 2;

void put(wire::Writer& out, const DoorEntry& door) {
  put_string(out, door.name);
  put_string(out, door.path);
  out.u32(door.mode).u32(door.uid).u32(door.gid);
  put_string(out, door.profile);
  out.u8(door.locality ? 1 : 0).u8(door.locality.value_or(0));
  out.u32(door.connections).u32(door.limit).u8(door.at_run_time ? 1 : 0);
  put_string(out, door.chip);
  out.u8(door.separate_users ? 1 : 0);
}

std::optional<DoorEntry> get(wire::Reader& in) {
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
  return DoorEntry{.name = std::move(*name),
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

wire::Bytes encode_doors(const std::vector<DoorEntry>& doors) {
  const std::size_t n = std::min(doors.size(), kMaxDoors);
  wire::Writer out;
  out.u16(kDoorsVersion).u16(static_cast<std::uint16_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    wire::Writer record;
    put(record, doors[i]);
    record.u8(doors[i].chip_lost ? 1 : 0);
    out.tpm2b(record.bytes());
  }
  return out.take();
}

std::optional<std::vector<DoorEntry>> decode_doors(wire::ByteView body) {
  wire::Reader in(body);
  const auto version = in.u16(), n = in.u16();
  if (!version || *version != kDoorsVersion || !n || *n > kMaxDoors) return std::nullopt;
  std::vector<DoorEntry> out;
  for (std::size_t i = 0; i < *n; ++i) {
    const auto record = in.tpm2b();
    if (!record) return std::nullopt;
    wire::Reader fields(*record);
    auto door = get(fields);
    if (!door) return std::nullopt;
    const auto chip_lost = fields.u8().value_or(0);
    if (chip_lost > 1) return std::nullopt;
    door->chip_lost = chip_lost != 0;
    out.push_back(std::move(*door));
  }
  return out;
}

wire::Bytes encode_door_order(const DoorOrder& order) {
  wire::Writer out;
  if (const auto* door = std::get_if<DoorEntry>(&order)) {
    put(out.u8(kAdd), *door);
  } else {
    put_string(out.u8(kRemove), std::get<RemoveDoor>(order).name);
  }
  return out.take();
}

std::optional<DoorOrder> decode_door_order(wire::ByteView body) {
  wire::Reader in(body);
  const auto what = in.u8();
  std::optional<DoorOrder> out;
  if (what == kAdd) {
    if (auto door = get(in)) out = std::move(*door);
  } else if (what == kRemove) {
    if (auto name = get_string(in)) out = RemoveDoor{std::move(*name)};
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
