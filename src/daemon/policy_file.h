// Who may do what, as the configuration says it: [profile.NAME], [[rule]], [[namespace]], [[listener]]; and [[chip]],
// which these name.
//
// Idea: the tables become values (`PolicyFile`) in which every name is one that exists; `access_of` adds what stands
// behind them (the standard rule) and makes the `Access` that the daemon works with. What can be right and still is
// hardly meant are warnings (policy_warnings.h). docs/policy.md says what each key means.
//
// Threads: values. Units: as guard/profile.h has them. Limits: profiles, rules, namespaces, listeners, entries of a
// list, octets of a name and of a pattern: daemon/limits.h. Errors: sentences with the place, in `Faults`; `access_of`:
// a sentence.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/chip_table.h"
#include "daemon/listener.h"
#include "daemon/number_list.h"
#include "daemon/table_reader.h"
#include "daemon/toml_tree.h"
#include "guard/profile.h"
#include "guard/rules.h"
#include "proto/socket_path.h"

namespace tpmspace::daemon {

// What somebody wrote. Each profile has its base in it; what it does not say of terms and limits is the file's.
struct PolicyFile {
  struct Own {
    int line = 0;
    std::optional<std::string> base;
    guard::Profile profile;
    bool operator==(const Own&) const = default;
  };
  std::map<std::string, Own, std::less<>> profiles;
  std::vector<guard::Rule> rules;                          // in order; their listeners, namespaces and profiles exist
  std::vector<guard::Namespace> namespaces;                // likewise; names differ, windows do not overlap
  std::vector<Listener> listeners;                         // `access_of` gives a path to those that have none
  std::string socket = proto::kSystemSocket;               // the path of the main one, as the file says it
  std::vector<ChipTable> chips;                            // whichever of the others names one: it is here, or "main"
  ChipTable main_chip = {.name = std::string(kMainChip)};  // what the file says of it, which may be nothing
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

// Who may do what, and with which TPM.
struct Access {
  // The file's rules, then the standard rule. Profiles of namespaces and listeners come between them (guard/rules.h).
  guard::Policy policy = guard::Policy::standard(0);
  std::vector<Listener> listeners;
  std::vector<Chip> chips = {Chip{}};  // the main one is the first; no two of them are the same TPM
  bool operator==(const Access&) const = default;

  // Null: none has this name, or it is the main one.
  [[nodiscard]] const Listener* listener(std::string_view name) const;
  // Likewise for a listener of this name.
  [[nodiscard]] guard::Choice choose(const guard::Principal& principal, std::string_view by_listener) const;
};
// What somebody gets who came in there: the rules' profile or the listener's, and no other locality than the
// listener's. Whom a listener or namespace gives another TPM than the main one, he does not administer tpmspaced by
// their profile. A client that may be in namespaces with different TPMs gets nothing.
[[nodiscard]] guard::Choice choose(const guard::Policy& policy, const guard::Principal& principal,
                                   const Entrance& entrance);
// The name of the TPM that its commands go to. `home`: its namespace; null: none.
[[nodiscard]] std::string chip_of(const Entrance& entrance, const guard::Namespace* home);
// `own_uid`: the daemon's. `socket`: the path of the main listener, which no other may have.
[[nodiscard]] tl::expected<Access, std::string> access_of(const PolicyFile& file, uid_t own_uid,
                                                          std::string_view socket);

}  // namespace tpmspace::daemon
