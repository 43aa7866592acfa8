// A rule on a client's attributes and its listener; the same conditions also serve without a profile.
//
// Idea: an attribute that the rule does not name is free. If a named attribute is unknown, the rule may match; if a
// named attribute is absent, the rule does not match.
// Threads: a value; matching allocates nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "guard/known.h"
#include "guard/pattern.h"
#include "guard/principal.h"
#include "wire/numbers.h"

namespace tpmspace::guard {

using wire::Numbers;

struct Rule {
  int line = 0;  // its line in the file, for people; 0: none

  std::optional<std::string> listener;  // its name
  std::optional<Numbers> uids;
  std::optional<Numbers> gids;  // matches if the client has one of the groups
  std::optional<Pattern> executable;
  std::optional<Pattern> cgroup;
  std::optional<Pattern> unit;
  std::optional<Pattern> container;
  std::optional<Pattern> pod;
  std::optional<std::uint64_t> user_namespace;
  std::optional<std::uint64_t> mount_namespace;
  std::optional<std::string> lsm_label;
  std::optional<std::string> tpm_namespace;  // the name of a configured namespace (guard/namespaces.h)
  std::optional<std::string> chip;           // the name of the client's TPM
  bool native = false;                       // Principal::is_native. Only the standard rule uses this condition

  std::string profile;  // the profile of a matching client
  Numbers disabled;     // commands denied to a matching client in addition: the response is DISABLED

  // `unreadable`: the result of a condition on an unknown executable, kernel namespace, group or label.
  [[nodiscard]] Match matches(const Principal& principal, std::string_view through_listener,
                              Match unreadable = Match::kMaybe) const;
  [[nodiscard]] bool only_narrows() const { return executable.has_value(); }
  [[nodiscard]] bool names_program() const { return executable || user_namespace || mount_namespace; }
  // The rule is about the place of a process, and not only about its user or listener.
  [[nodiscard]] bool names_place() const { return cgroup || unit || container || pod || user_namespace; }
  // This rule matches every client that `later` matches (overlapping patterns are not analysed).
  [[nodiscard]] bool covers(const Rule& later) const;

  bool operator==(const Rule&) const = default;
};

}  // namespace tpmspace::guard
