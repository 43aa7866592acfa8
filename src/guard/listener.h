// A listener as the configuration, or an administrator at run time, says it: one more socket by which clients come in.
//
// Threads: a value. Units: connections.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tpmspace::guard {

// The listener that is always there: the daemon's own socket. It has no profile.
inline constexpr std::string_view kMainListener = "main";
// A listener of its own for administrators, who then do not wait in one backlog with everybody. It has no profile.
inline constexpr std::string_view kAdminListener = "admin";
// No other listener may have one of these names.
[[nodiscard]] constexpr bool is_reserved_listener(std::string_view name) {
  return name == kMainListener || name == kAdminListener;
}
struct Listener {
  int line = 0;           // where it was written; 0: nowhere
  std::string name = {};  // for rules, and for people
  std::string path = {};
  mode_t mode = 0;
  std::optional<uid_t> owner = {};  // of the socket
  std::optional<gid_t> group = {};
  std::optional<std::string> profile = {};    // of whom no rule of the file matches
  std::optional<std::uint8_t> locality = {};  // of everybody who comes by it, for good
  std::uint32_t connections = 0;              // largest number of simultaneous connections; 0: no limit
  std::optional<std::string> chip = {};       // the TPM of everybody who comes by it
  bool separate_users = false;                // its users cannot be one another: each is an owner
  bool default_path = false;                  // nobody said the path: its directories are made if they are missing
  bool dispensable = false;  // nobody asked for it: the daemon goes on without it, if it cannot be made
  bool operator==(const Listener&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// What counts of a listener for whoever came by it, also when it is not there any more.
struct Entrance {
  std::string listener = {};                         // its name
  std::string profile = {};                          // empty: it has none
  std::optional<std::uint8_t> locality = {};         // nullopt: as the profile says
  std::string chip = {};                             // empty: as the namespace says
  bool separate_users = false;                       // of one that has a profile
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
