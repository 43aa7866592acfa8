// The connected clients as the manager tells of them: `tpmspace clients`, `tpmspace whoami`, `policy explain --as
// pid=N`.
//
// Idea: values with named fields. Each record carries its length: a reader skips what a newer manager puts behind what
// it knows. Clients come in pages, in the order of their connections: the request names the last connection that the
// reader has seen.
//
//   Who            u32 uid, u32 pid (0: unknown), string executable, string unit, string container, string pod,
//                  string namespace, string listener, string profile, string chip
//   Refusal        u64 ago, string command, u32 code, string reason
//   Client         u64 connection, Who, u64 age, u64 commands, u64 TPM time, u64 waiting, string waits for, u32
//   objects,
//                  u32 sessions, u8 has Refusal, Refusal if it has one
//   ClientsRequest u64 after
//   Clients        u16 version (1), u32 total, u16 count, then for each: u16 length, Client
//   WhoRequest     u32 pid (0: of this connection), u16 count, then words, a string each
//   WhoReport      u16 version (1), u64 connection, Who, u32 connections, u8 administers, u16 count, then reasons, a
//                  string each, u8 has Refusal, Refusal if it has one, u8 outcome, string text
//
// Threads: values. Units: nanoseconds, as spans that end when the manager answers. Sizes: kMaxClients in a page,
// kMaxWords, kMaxReasons; strings that clients choose are cut to kMaxText bytes by the manager.
// Errors: decoding is total; nullopt for a version that we do not know, a record that is too short, too many of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "wire/bytes.h"

namespace tpmspace::proto {

inline constexpr std::uint16_t kClientsVersion = 1;
inline constexpr std::size_t kMaxClients = 16;
inline constexpr std::size_t kMaxWords = 32;
inline constexpr std::size_t kMaxReasons = 64;
inline constexpr std::size_t kMaxText = 255;

// Bytes outside printable ASCII are sent as "?": terminals show the texts.
struct Who {
  std::uint32_t uid = 0;
  std::uint32_t pid = 0;        // 0: unknown
  std::string executable = {};  // empty: unknown
  std::string unit = {}, container = {}, pod = {};
  std::string tpm_namespace = {}, listener = {}, profile = {}, chip = {};

  bool operator==(const Who&) const = default;
};

// A command that the manager refused.
struct RefusedCommand {
  std::uint64_t ago = 0;
  std::string command = {};  // "TPM2_Clear"; empty: the command could not be parsed
  std::uint32_t code = 0;
  std::string reason = {};

  bool operator==(const RefusedCommand&) const = default;
};

struct ClientEntry {
  std::uint64_t connection = 0;
  Who who = {};
  std::uint64_t age = 0;       // age of the connection
  std::uint64_t commands = 0;  // TPM commands sent
  std::uint64_t tpm_time = 0;  // the TPM's time for the commands and their moves
  std::uint64_t waiting = 0;   // time waited for the response to the client's command; 0: no command
  std::string waits_for = {};  // the command under way
  // Contents of the client's space after its last command.
  std::uint32_t objects = 0, sessions = 0;
  std::optional<RefusedCommand> refusal = {};  // the last refusal

  bool operator==(const ClientEntry&) const = default;
};

struct Clients {
  std::uint32_t total = 0;  // clients visible to the asking client, on all pages
  std::vector<ClientEntry> clients = {};

  bool operator==(const Clients&) const = default;
};

struct WhoQuestion {
  std::uint32_t pid = 0;                // 0: the asking connection
  std::vector<std::string> words = {};  // a command and its handles, as in `policy explain`; or empty

  bool operator==(const WhoQuestion&) const = default;
};

struct WhoReport {
  enum class Outcome : std::uint8_t { kNotAsked = 0, kAllowed = 1, kRefused = 2, kCannotBeSaid = 3 };

  std::uint64_t connection = 0;
  Who who = {};
  std::uint32_t connections = 0;          // connections of the process
  bool administers = false;               // the client may give orders to the manager
  std::vector<std::string> reasons = {};  // reasons for the profile: the rules that gave and narrowed it
  // For a connection that asks about itself: its user's last refusal, also on another connection.
  std::optional<RefusedCommand> refusal = {};
  Outcome outcome = Outcome::kNotAsked;
  std::string text = {};  // the text of `policy explain` on the command

  bool operator==(const WhoReport&) const = default;
};

[[nodiscard]] wire::Bytes encode_clients(const Clients& clients);
[[nodiscard]] std::optional<Clients> decode_clients(wire::ByteView body);
[[nodiscard]] wire::Bytes encode_question(const WhoQuestion& question);
[[nodiscard]] std::optional<WhoQuestion> decode_question(wire::ByteView body);
[[nodiscard]] wire::Bytes encode_report(const WhoReport& report);
[[nodiscard]] std::optional<WhoReport> decode_report(wire::ByteView body);

}  // namespace tpmspace::proto
