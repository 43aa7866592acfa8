// A rule over who a client is and which listener it came by; and such conditions alone.
//
// Idea: what a rule does not name may be anything. A rule that names what is unknown about a client may match it; a
// rule that names what the client does not have does not. Threads: a value; matching allocates nothing.
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
  int line = 0;  // where it was written, for people; 0: nowhere

  std::optional<std::string> listener;  // its name
  std::optional<Numbers> uids;
  std::optional<Numbers> gids;  // one of the client's is among them
  std::optional<Pattern> executable;
  std::optional<Pattern> cgroup;
  std::optional<Pattern> unit;
  std::optional<Pattern> container;
  std::optional<Pattern> pod;
  std::optional<std::uint64_t> user_namespace;
  std::optional<std::uint64_t> mount_namespace;
  std::optional<std::string> lsm_label;
  std::optional<std::string> tpm_namespace;  // the name of a configured one (guard/namespaces.h)
  std::optional<std::string> chip;           // the name of the TPM that it uses
  bool native = false;                       // Principal::is_native. The standard rule alone asks for it

  std::string profile;  // which such a client gets
  Numbers disabled;     // commands that it is denied beyond that: answered DISABLED

  // `unreadable`: what to take for a condition on an executable, a kernel namespace, a group or a label that is
  // unknown.
  [[nodiscard]] Match matches(const Principal& principal, std::string_view through_listener,
                              Match unreadable = Match::kMaybe) const;
  [[nodiscard]] bool only_narrows() const { return executable.has_value(); }
  [[nodiscard]] bool names_program() const { return executable || user_namespace || mount_namespace; }
  // It is about where a process is, and not only about whose it is or how it came.
  [[nodiscard]] bool names_place() const { return cgroup || unit || container || pod || user_namespace; }
  // Whoever `later` matches, this one matches, too (what patterns have in common is not looked into).
  [[nodiscard]] bool covers(const Rule& later) const;

  bool operator==(const Rule&) const = default;
};

}  // namespace tpmspace::guard
