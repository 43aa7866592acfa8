#include "proto/status.h"

#include <algorithm>
#include <type_traits>

namespace tpmspace::proto {
namespace {

constexpr std::size_t kCommandUseSize = 20;  // u32 + u64 + u64
constexpr std::size_t kMaxText = 4096;       // of one text field; what is longer is cut

void put(wire::Writer& out, const std::string& text) {
  for (const char c : text.substr(0, kMaxText)) out.u8(static_cast<std::uint8_t>(c));
}
void put(wire::Writer& out, bool flag) {
  out.u8(flag ? 1 : 0);
}
void put(wire::Writer& out, std::uint64_t number) {
  out.u64(number);
}
void put(wire::Writer& out, const std::vector<CommandUse>& uses) {
  const std::size_t n = std::min(uses.size(), kMaxCommandUses);
  for (std::size_t i = 0; i < n; ++i) out.u32(uses[i].code).u64(uses[i].count).u64(uses[i].nanoseconds);
}

bool get(wire::ByteView value, std::string& text) {
  text.clear();
  for (const std::uint8_t c : value) text.push_back(static_cast<char>(c));
  return true;
}
bool get(wire::ByteView value, bool& flag) {
  if (value.size() != 1) return false;
  flag = value[0] != 0;
  return true;
}
bool get(wire::ByteView value, std::uint64_t& number) {
  wire::Reader reader(value);
  const auto read = reader.u64();
  if (!read || !reader.empty()) return false;
  number = *read;
  return true;
}
bool get(wire::ByteView value, std::vector<CommandUse>& uses) {
  if (value.size() % kCommandUseSize != 0) return false;
  uses.clear();
  wire::Reader reader(value);
  while (!reader.empty()) {
    CommandUse use;
    use.code = reader.u32().value_or(0);
    use.count = reader.u64().value_or(0);
    use.nanoseconds = reader.u64().value_or(0);
    uses.push_back(use);
  }
  return true;
}

// Stores `value` in the field with this id, if there is one. False: it does not fit the field's kind.
bool store(Status& status, std::uint16_t id, wire::ByteView value) {
  bool fits = true;
  for_each_field(status, [&](const StatusField& field, auto& member) {
    if (field.id == id) fits = get(value, member);
  });
  return fits;
}

}  // namespace

wire::Bytes encode_status(const Status& status) {
  wire::Writer out;
  out.u16(kStatusVersion);
  for_each_field(status, [&](const StatusField& field, const auto& member) {
    wire::Writer value;
    put(value, member);
    out.u16(field.id).u32(static_cast<std::uint32_t>(value.bytes().size())).raw(value.bytes());
  });
  return out.take();
}

std::optional<Status> decode_status(wire::ByteView body) {
  wire::Reader reader(body);
  const auto version = reader.u16();
  if (!version || *version != kStatusVersion) return std::nullopt;
  Status status;
  while (!reader.empty()) {
    const auto id = reader.u16();
    const auto length = reader.u32();
    if (!id || !length) return std::nullopt;
    const auto value = reader.take(*length);
    if (!value || !store(status, *id, *value)) return std::nullopt;
  }
  return status;
}

}  // namespace tpmspace::proto
