// Configuration: the file, the command line on top, and the defaults beneath.
//
// Idea: the file's text becomes `Settings` (every key optional); the command line is `Settings` too; `settle` lays the
// command line over the file and takes missing values from the environment. The room does not log or exit. Threads:
// values. Errors: one sentence each, with file, line and column if known: the failure, the reason, the remedy. The file
// is TOML; docs/tpmspaced.example.toml has every key, docs/configuration.md explains each key.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "base/limits.h"
#include "books/owner.h"
#include "config/policy_file.h"
#include "engine/engine.h"
#include "log/log.h"

namespace tpmspace::config {

inline constexpr std::uint32_t kConfigVersion = 1;
inline constexpr std::string_view kConfigFile = "/etc/tpmspace/tpmspace.toml";
inline constexpr std::string_view kDefaultDevice = "/dev/tpm0";

struct Limits {
  std::uint32_t connections = limits::kConnections;  // 0: no limit
  std::uint32_t connections_per_owner = limits::kConnectionsPerOwner;
  std::uint32_t objects = limits::kObjects;    // of one space
  std::uint32_t sessions = limits::kSessions;  // of one space
  std::uint64_t bytes = limits::kBytes;        // bytes
  std::uint32_t client_saved_sessions = limits::kClientSavedSessions;
  std::uint32_t queue = limits::kQueue;
  space::SessionTerms terms = {};  // how spaces get sessions when sessions run short
  bool operator==(const Limits&) const = default;
};

// The idle times after which the contents of a device's TPM are saved. Nanoseconds; SessionTerms::kEndless: never.
struct Idle {
  std::uint64_t put_away = engine::Config{}.put_away_after;
  std::uint64_t save_objects = engine::Config{}.save_objects_after;
  std::uint64_t save_sessions = engine::Config{}.save_sessions_after;
  bool operator==(const Idle&) const = default;
};

// The written settings; unwritten settings are absent (limits: at their defaults).
struct Settings {
  std::string name;  // name of the file; empty: no file
  std::optional<std::string> tpm;
  std::optional<std::string> socket;
  std::optional<mode_t> socket_mode;
  std::optional<std::string> admin_socket;
  std::optional<log::LogLevel> log_level;
  std::optional<std::string> ledger;
  std::optional<std::string> audit;
  Limits limits;
  Idle idle;
  PolicyFile policy;
};

struct Config {
  std::string socket;           // path
  bool default_socket = false;  // the path is our own default, named or not: its directory is made if missing
  mode_t socket_mode = 0666;    // open to all users: the guard decides the rights
  std::string audit;            // destination of audit records: AuditLog::open
  log::LogLevel log_level = log::LogLevel::kInfo;
  Limits limits;
  Idle idle;
  guard::Access access;
  bool operator==(const Config&) const = default;
};

// A key whose new value takes effect when tpmspaced starts again.
struct PendingKey {
  std::string key;                                     // "limits.connections", or `[[chip]] "build"`
  std::string in_force, in_file;                       // values; empty for a table
  bool operator==(const PendingKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
// Differences between `read` and `running`, except for keys that a reload changes at once.
[[nodiscard]] std::vector<PendingKey> pending_keys(const Config& running, const Config& read);
// "limits.connections (100 is in force, the file says 200)", with commas between several.
[[nodiscard]] std::string text_of(const std::vector<PendingKey>& keys);

// The environment of the defaults.
struct Environment {
  // The daemon serves the machine, and not one user: root, or a service of the system's systemd.
  bool is_system = false;
  std::optional<std::string> xdg_runtime_dir = std::nullopt;
  std::function<bool(std::string_view path)> exists = nullptr;
  uid_t uid = 0;  // the daemon's own uid
  // The path of the listening socket that the service manager hands over, in place of `socket`; "": the socket has no
  // path; nullopt: no socket is handed over.
  std::optional<std::string> inherited_socket = std::nullopt;
};
[[nodiscard]] Environment process_environment();

// The keys with a default, "socket" or "limits.objects", in the order of the documentation. policy_file.h has the
// remaining keys.
[[nodiscard]] std::vector<std::string> known_keys();

// `name` begins each error: "NAME:LINE:COLUMN: sentence".
// `in_force`: the limits of a running tpmspaced, which hold for profiles without their own limits; null: the file's
// limits.
[[nodiscard]] tl::expected<Settings, std::string> parse_settings(std::string_view text, const std::string& name,
                                                                 const Accounts& accounts = system_accounts(),
                                                                 const Limits* in_force = nullptr);
// The file `explicit_path`, which must then be there, or else kConfigFile if it is there.
[[nodiscard]] tl::expected<Settings, std::string> read_settings(const std::optional<std::string>& explicit_path,
                                                                const Limits* in_force = nullptr);
// Limits and policy come from the file only.
[[nodiscard]] tl::expected<Config, std::string> settle(const Settings& command_line, const Settings& file,
                                                       const Environment& environment);

}  // namespace tpmspace::config
