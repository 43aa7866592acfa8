// The policy in the configuration: [profile.NAME], [[rule]], [[namespace]], [[listener]]; and [[chip]], which these
// tables name.
//
// Idea: the tables become values (`PolicyFile`) in which every name exists; `access_of` adds the standard rule behind
// the tables and makes the daemon's `Access`. Valid but unlikely settings cause warnings (policy_warnings.h).
// The pages docs/policy-*.md explain each key.
//
// Threads: values. Units: as in guard/profile.h. Limits: profiles, rules, namespaces, listeners, entries of a list,
// bytes of a name and of a pattern: base/limits.h. Errors: sentences with the place, in `Faults`; `access_of`: a
// sentence.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
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

// The written policy. Each profile includes its base; unwritten terms and limits are the file's.
struct PolicyFile {
  struct Own {
    int line = 0;
    std::optional<std::string> base;
    guard::Profile profile;
    bool operator==(const Own&) const = default;
  };
  std::map<std::string, Own, std::less<>> profiles;
  std::vector<guard::Rule> rules;             // in order; their listeners, namespaces and profiles exist
  std::vector<guard::Namespace> namespaces;   // their profiles exist; names differ, windows do not overlap
  std::vector<guard::Listener> listeners;     // `access_of` gives a path to listeners without a path
  std::string socket = proto::kSystemSocket;  // the path of the main listener, as in the file
  std::vector<ChipTable> chips;               // every named chip is listed here, or is "main"
  ChipTable main_chip = {.name = std::string(guard::kMainChip)};  // the file's settings of the main chip, possibly none
  // For the shipped profiles: [profile.default] and [limits].
  guard::SessionTerms terms;
  guard::Limits limits;
};

// `root` is the whole file; `terms` and `limits` are the file's general settings.
[[nodiscard]] PolicyFile read_policy(const TomlNode& root, const guard::SessionTerms& terms,
                                     const guard::Limits& limits, const Accounts& accounts, Faults& faults);
// [profile.default]. Absent: at its defaults.
[[nodiscard]] guard::SessionTerms read_default_terms(const TomlNode& root, Faults& faults);

// The keys of the policy tables, for the documentation: "rule.user", "profile.NAME.nv.read".
[[nodiscard]] std::vector<std::string> known_policy_keys();
// "profile.default.claim"
[[nodiscard]] std::vector<std::string> known_term_keys();

// `own_uid`: the daemon's. `socket`: the path of the main listener; no other listener may have this path.
[[nodiscard]] tl::expected<guard::Access, std::string> access_of(const PolicyFile& file, uid_t own_uid,
                                                                 std::string_view socket);

}  // namespace tpmspace::config
