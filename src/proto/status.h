// What the manager tells of itself: every number that `tpmspace status` shows.
//
// Idea: a value with named fields, and one list of them (status_fields.inc) from which members, encoding, JSON and text
// are made. On the wire each field carries its id and length: a reader skips ids that it does not know and leaves at
// zero what an older server did not send, so a field is added without a new version.
//
//   Status     u16 version (1), then fields until the end: u16 id, u32 length, value
//   value      text: UTF-8; flag: u8 0 or 1; number: u64; command uses: for each u32 code, u64 count, u64 nanoseconds
//
// Threads: a value. Units: as each field's kind says; counters are since the daemon started.
// Sizes: an encoded Status stays below kMaxReplySize (frame.h) with 40,000 command codes; `encode` sends no more.
// Errors: decoding is total; nullopt for a version that we do not know or a field whose length does not fit its kind.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/bytes.h"

namespace tpmspace::proto {

// TPM commands of one code, whatever the cause.
struct CommandUse {
  std::uint32_t code = 0;
  std::uint64_t count = 0;
  std::uint64_t nanoseconds = 0;  // that the TPM took for them, in sum
  bool operator==(const CommandUse&) const = default;
};

enum class FieldKind : std::uint8_t { kText, kFlag, kCount, kOctets, kNanoseconds, kCommand, kCommandUses };

template <FieldKind>
struct FieldType {
  using Type = std::uint64_t;
};
template <>
struct FieldType<FieldKind::kText> {
  using Type = std::string;
};
template <>
struct FieldType<FieldKind::kFlag> {
  using Type = bool;
};
template <>
struct FieldType<FieldKind::kCommandUses> {
  using Type = std::vector<CommandUse>;
};

struct Status {
#define TPMSPACE_STATUS(id, kind, group, name) FieldType<FieldKind::kind>::Type group##_##name{};
#include "proto/status_fields.inc"
#undef TPMSPACE_STATUS
  bool operator==(const Status&) const = default;
};

// A field's line in the list.
struct StatusField {
  std::uint16_t id = 0;
  FieldKind kind = FieldKind::kCount;
  std::string_view group;  // "connections"
  std::string_view name;   // "now"
};

// Calls visit(StatusField, member) for each field in the order of the list; `status` may be const or not.
template <typename StatusRef, typename Visitor>
void for_each_field(StatusRef& status, Visitor&& visit) {
#define TPMSPACE_STATUS(id, kind, group, name) \
  visit(StatusField{id, FieldKind::kind, #group, #name}, status.group##_##name);
#include "proto/status_fields.inc"
#undef TPMSPACE_STATUS
}

inline constexpr std::uint16_t kStatusVersion = 1;
inline constexpr std::size_t kMaxCommandUses = 40'000;

// The body of the reply, after the response code.
[[nodiscard]] wire::Bytes encode_status(const Status& status);
[[nodiscard]] std::optional<Status> decode_status(wire::ByteView body);

}  // namespace tpmspace::proto
