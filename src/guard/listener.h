// A listener as configured, or as made by an administrator at run time: one more socket by which clients connect.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tpmspace::guard {

// The listener that always exists: the daemon's own socket. The main listener has no profile.
inline constexpr std::string_view kMainListener = "main";
// A separate listener for administrators, so that they do not wait in the backlog of other users. The admin listener
// has no profile.
inline constexpr std::string_view kAdminListener = "admin";
// No other listener may have a reserved name.
[[nodiscard]] constexpr bool is_reserved_listener(std::string_view name) {
  return name == kMainListener || name == kAdminListener;
}
struct Listener {
  int line = 0;           // its line in the file; 0: none
  std::string name = {};  // for rules, and for people
  std::string path = {};
  mode_t mode = 0;
  std::optional<uid_t> owner = {};  // owner of the socket
  std::optional<gid_t> group = {};
  std::optional<std::string> profile = {};    // for clients that match no rule of the file
  std::optional<std::uint8_t> locality = {};  // fixed for all clients of the listener
  std::uint32_t connections = 0;              // at a time; 0: no limit
  std::optional<std::string> chip = {};       // the TPM of all clients of the listener
  bool separate_users = false;                // the users cannot become one another: each is an owner
  bool default_path = false;                  // the path is the default: missing directories are made
  bool dispensable = false;  // not requested: if the listener cannot be made, the daemon goes on without it
  bool operator==(const Listener&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// The properties of a listener that count for its clients, even after the listener is removed.
struct Entrance {
  std::string listener = {};                         // its name
  std::string profile = {};                          // empty: the listener has none
  std::optional<std::uint8_t> locality = {};         // nullopt: the profile decides
  std::string chip = {};                             // empty: the namespace decides
  bool separate_users = false;                       // for a listener with a profile
  bool operator==(const Entrance&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
[[nodiscard]] inline Entrance entrance_of(const Listener& listener) {
  return {.listener = listener.name,
          .profile = listener.profile.value_or(""),
          .locality = listener.locality,
          .chip = listener.chip.value_or(""),
          .separate_users = listener.separate_users};
}

}  // namespace tpmspace::guard
