// The sessions in the TPM as the manager tells of them: what `tpmspace sessions` shows, and what `tpmspace flush`
// and `tpmspace reserve` say and are told.
//
// Idea: values with named fields. Each record carries its length: a reader skips what a newer manager puts behind what
// it knows, and shows a kind or state that it does not know as its number.
//
//   Session         u32 handle, u8 kind, u8 state, u32 uid, u64 connection, u64 age, u64 idle, u64 lease,
//                   u8 rebuildable, u8 parked, Tenant
//   Waiting         u32 uid, u64 connection, u64 waited, u64 left, Tenant
//   Tenant           string namespace, string listener: where the user is; at most one of them is not empty. Older
//   managers
//                   send none
//   records         u16 count, then for each: u16 length, record
//   Sessions        u16 version (1), u32 hidden sessions, u32 hidden waiting, u32 more waiting, u32 more parked,
//                   Session records, Waiting records
//   Concerned       u16 version (1), Session records
//   Order           u8 what: to flush 1 these: u16 count, u32 handle each; 2 abandoned ones; 3 those of an owner: u32
//   uid;
//                   to keep loaded 4 this one: u32 handle; and no longer 5: u32 handle
//
// Threads: values. Units: nanoseconds, as spans that end or begin when the manager answers; kEndless: no end.
// Sizes: at most kMaxRecords of a kind are sent, 510 KiB in all; at most kMaxHandles are asked for.
// Errors: decoding is total; nullopt for a version that we do not know, a record that is too short, too many of them,
// or a name that none can have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "proto/socket_path.h"
#include "wire/bytes.h"
#include "wire/session_terms.h"

namespace tpmspace::proto {

inline constexpr std::uint16_t kSessionsVersion = 1;
inline constexpr std::size_t kMaxRecords = 1024;
inline constexpr std::size_t kMaxHandles = 256;
inline constexpr std::uint64_t kEndless = UINT64_MAX;

using wire::Rebuildable;
using wire::SessionKind;
enum class SessionState : std::uint8_t {
  kLoaded = 0,
  kSaved = 1,        // saved by the manager
  kClientSaved = 2,  // saved by its client
  kAbandoned = 3,    // saved by its client, and the connection is gone
  kParked = 4,       // not in the TPM until the next use
};
// The user of a TPM namespace, or of a listener with a profile of its own, is another one than outside
// (docs/policy.md). Only administrators are told. A listener without a name has its path as one; octets that a terminal
// may take for something else than a letter are sent as "?".
struct Tenant {
  static constexpr std::size_t kLongestName = kMaxSocketPath;
  std::string tpm_namespace = {}, listener = {};
  bool operator==(const Tenant&) const = default;
};

struct SessionEntry {
  std::uint32_t handle = 0;
  SessionKind kind = SessionKind::kHmac;
  SessionState state = SessionState::kLoaded;
  std::uint32_t uid = 0;
  std::uint64_t connection = 0;  // the connection's number in the manager's log; 0: none
  std::uint64_t age = 0;         // time since the start
  std::uint64_t idle = 0;        // time since the last use
  std::uint64_t lease = 0;       // idle for so long, it may be taken when somebody waits
  Rebuildable rebuildable = Rebuildable::kNotPolicy;
  bool parked = false;  // also of one that its client saved
  Tenant tenant = {};

  bool operator==(const SessionEntry&) const = default;
};

struct WaitingEntry {
  std::uint32_t uid = 0;
  std::uint64_t connection = 0;
  std::uint64_t waited = 0;
  std::uint64_t left = 0;  // until it is refused
  Tenant tenant = {};

  bool operator==(const WaitingEntry&) const = default;
};

struct Sessions {
  std::vector<SessionEntry> sessions;
  std::vector<WaitingEntry> waiting;
  std::uint32_t hidden_sessions = 0, hidden_waiting = 0;  // of others: not for whoever asks
  std::uint32_t more_waiting = 0, more_parked = 0;        // not named, there were too many

  bool operator==(const Sessions&) const = default;
};

struct FlushThese {
  std::vector<std::uint32_t> handles;
  bool operator==(const FlushThese&) const = default;
};
struct FlushAbandoned {
  bool operator==(const FlushAbandoned&) const = default;
};
struct FlushOwner {
  std::uint32_t uid = 0;
  bool operator==(const FlushOwner&) const = default;
};
struct ReserveThis {
  std::uint32_t handle = 0;
  bool reserved = true;  // false: no longer
  bool operator==(const ReserveThis&) const = default;
};
using SessionOrder = std::variant<FlushThese, FlushAbandoned, FlushOwner, ReserveThis>;

// The bodies of the replies, after the response code.
[[nodiscard]] wire::Bytes encode_sessions(const Sessions& sessions);
[[nodiscard]] std::optional<Sessions> decode_sessions(wire::ByteView body);
[[nodiscard]] wire::Bytes encode_flushed(const std::vector<SessionEntry>& sessions);
[[nodiscard]] std::optional<std::vector<SessionEntry>> decode_flushed(wire::ByteView body);

// The body of the request.
[[nodiscard]] wire::Bytes encode_order(const SessionOrder& what);
[[nodiscard]] std::optional<SessionOrder> decode_order(wire::ByteView body);

}  // namespace tpmspace::proto
