// The listeners as the manager tells of them, and orders to make one or take it away: `tpmspace listener`.
//
// Idea: as in proto/sessions.h: values with named fields, each record with its length.
//
//   Listener      string name, string path, u32 mode, u32 uid, u32 gid, string profile, u8 has locality, u8 locality,
//             u32 connections, u32 limit, u8 made at run time, string chip, u8 separate users
//   Listeners     u16 version (1), u16 count, then for each: u16 length, Listener, u8 chip lost (not from older
//   servers) Order     u8 what: 1 add: Listener (what is told only is ignored; an empty path: the manager's own
//   default);
//             2 remove: string name
//   Outcome   u8 done, string sentence: what was done, or why not
//
// Threads: values. Units: connections. Sizes: at most kMaxListeners. kKeep as uid or gid: the manager's own.
// Errors: decoding is total; nullopt for what is too short, too long or of another version.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "wire/bytes.h"

namespace tpmspace::proto {

inline constexpr std::uint16_t kListenersVersion = 1;
inline constexpr std::size_t kMaxListeners = 65;  // the main one included
inline constexpr std::uint32_t kKeep = UINT32_MAX;

// Who may connect if nobody says it: those for whom the socket is made.
[[nodiscard]] constexpr std::uint32_t usual_mode(bool has_owner, bool has_group) {
  constexpr std::uint32_t kEverybody = 0666, kOwner = 0600, kOwnerAndGroup = 0660;
  if (has_group) return kOwnerAndGroup;
  return has_owner ? kOwner : kEverybody;
}

struct ListenerEntry {
  std::string name = {};
  std::string path = {};
  std::uint32_t mode = 0666;
  std::uint32_t uid = kKeep, gid = kKeep;
  std::string profile = {};  // empty: the rules decide
  std::optional<std::uint8_t> locality = {};
  std::uint32_t connections = 0;  // current connections
  std::uint32_t limit = 0;        // limit of connections; 0: none
  bool at_run_time = false;       // not in the configuration
  std::string chip = {};          // the TPM of the listener's clients; empty: not fixed
  bool separate_users = false;    // each user is an owner; false: all users are one owner
  bool chip_lost = false;         // it does not answer, or the main one if it is no one in particular; not in orders

  bool operator==(const ListenerEntry&) const = default;
};
struct RemoveListener {
  std::string name;
  bool operator==(const RemoveListener&) const = default;
};
using ListenerOrder = std::variant<ListenerEntry, RemoveListener>;

struct Outcome {
  bool done = false;
  std::string sentence;
  bool operator==(const Outcome&) const = default;
};

[[nodiscard]] wire::Bytes encode_listeners(const std::vector<ListenerEntry>& listeners);
[[nodiscard]] std::optional<std::vector<ListenerEntry>> decode_listeners(wire::ByteView body);
[[nodiscard]] wire::Bytes encode_listener_order(const ListenerOrder& order);
[[nodiscard]] std::optional<ListenerOrder> decode_listener_order(wire::ByteView body);
[[nodiscard]] wire::Bytes encode_outcome(const Outcome& outcome);
[[nodiscard]] std::optional<Outcome> decode_outcome(wire::ByteView body);

}  // namespace tpmspace::proto
