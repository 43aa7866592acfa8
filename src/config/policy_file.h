// Who may do what, as the configuration says it: [profile.NAME], [[rule]], [[namespace]], [[listener]]; and [[chip]],
// which these name.
//
// Idea: the tables become values (`PolicyFile`) in which every name is one that exists; `access_of` adds what stands
// behind them (the standard rule) and makes the `Access` that the daemon works with. What can be right and still is
// hardly meant are warnings (policy_warnings.h). docs/policy.md says what each key means.
//
// Threads: values. Units: as guard/profile.h has them. Limits: profiles, rules, namespaces, listeners, entries of a
// list, octets of a name and of a pattern: base/limits.h. Errors: sentences with the place, in `Faults`; `access_of`:
// a sentence.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "config/chip_table.h"
#include "config/number_list.h"
#include "config/table_reader.h"
#include "config/toml_tree.h"
#include "guard/access.h"
#include "guard/listener.h"
#include "guard/profile.h"
#include "guard/rules.h"
#include "proto/socket_path.h"

namespace tpmspace::config {

// What somebody wrote. Each profile has its base in it; what it does not say of terms and limits is the file's.
struct PolicyFile {
  struct Own {
    int line = 0;
    std::optional<std::string> base;
    guard::Profile profile;
    bool operator==(const Own&) const = default;
  };
  std::map<std::string, Own, std::less<>> profiles;
  std::vector<guard::Rule> rules;             // in order; their listeners, namespaces and profiles exist
  std::vector<guard::Namespace> namespaces;   // likewise; names differ, windows do not overlap
  std::vector<guard::Listener> listeners;     // `access_of` gives a path to those that have none
  std::string socket = proto::kSystemSocket;  // the path of the main one, as the file says it
  std::vector<ChipTable> chips;               // whichever of the others names one: it is here, or "main"
  ChipTable main_chip = {.name = std::string(guard::kMainChip)};  // what the file says of it, which may be nothing
  // Of the shipped profiles: [profile.default] and [limits].
  guard::SessionTerms terms;
  guard::Limits limits;
};

// `root` is the whole file; `terms` and `limits` are what its other parts say for everybody.
[[nodiscard]] PolicyFile read_policy(const TomlNode& root, const guard::SessionTerms& terms,
                                     const guard::Limits& limits, const Accounts& accounts, Faults& faults);
// [profile.default]. Absent: at its defaults.
[[nodiscard]] guard::SessionTerms read_default_terms(const TomlNode& root, Faults& faults);

// The keys of these tables, for the documentation: "rule.user", "profile.NAME.nv.read".
[[nodiscard]] std::vector<std::string> known_policy_keys();
// "profile.default.claim"
[[nodiscard]] std::vector<std::string> known_term_keys();

// `own_uid`: the daemon's. `socket`: the path of the main listener, which no other may have.
[[nodiscard]] tl::expected<guard::Access, std::string> access_of(const PolicyFile& file, uid_t own_uid,
                                                                 std::string_view socket);

}  // namespace tpmspace::config
