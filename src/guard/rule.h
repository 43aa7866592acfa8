// A rule over who a client is and which door it came by; and such conditions alone.
//
// Idea: what a rule does not name may be anything; what is not known about a client matches no rule that names it.
// Threads: a value; matching allocates nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "guard/pattern.h"
#include "guard/principal.h"
#include "wire/numbers.h"

namespace tpmspace::guard {

using wire::Numbers;

struct Rule {
  int line = 0;  // where it was written, for people; 0: nowhere

  std::optional<std::string> door;  // its name
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

  std::string profile;  // which such a client gets
  Numbers disabled;     // commands that it is denied beyond that: answered DISABLED

  [[nodiscard]] bool matches(const Principal& principal, std::string_view through_door) const;
  [[nodiscard]] bool only_narrows() const { return executable.has_value(); }
  // Whoever `later` matches, this one matches, too (what patterns have in common is not looked into).
  [[nodiscard]] bool covers(const Rule& later) const;

  bool operator==(const Rule&) const = default;
};

}  // namespace tpmspace::guard
