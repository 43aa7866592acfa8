// The configured permissions and TPMs as a value: the permissions and the TPM of each client.
//
// Idea: a policy, the listeners by which clients connect, and the chips (TPMs) that are served. `choose` alone decides
// on the permissions of a client of a listener; each connection and `policy explain` call `choose`.
// Threads: values; functions of their arguments. Limits: of the configuration.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "guard/listener.h"
#include "guard/principal.h"
#include "guard/rules.h"

namespace tpmspace::guard {

// The chip of the option `tpm`, or --tpm.
inline constexpr std::string_view kMainChip = "main";

// A served TPM and its name.
struct Chip {
  std::string name = std::string(kMainChip);
  std::string tpm = {};         // a back end's specification, as in --tpm
  std::string ledger = {};      // the file that records our sessions on a shared chip; empty: none
  bool default_ledger = false;  // the path is the default: the directory of the default socket is made for the ledger
  bool operator==(const Chip&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
// Permissions, listeners and TPMs.
struct Access {
  // The file's rules, then the standard rule. Profiles of namespaces and listeners come in between (guard/rules.h).
  Policy policy = Policy::standard(0);
  std::vector<Listener> listeners;
  std::vector<Chip> chips = {Chip{}};  // the main chip is the first; no two chips are the same TPM
  bool operator==(const Access&) const = default;

  // Null: no listener has this name, or the name is the main listener's.
  [[nodiscard]] const Listener* listener(std::string_view name) const;
  // As `choose` below, for the listener of this name.
  [[nodiscard]] Choice choose(const Principal& principal, std::string_view by_listener) const;
};
// The rights of a client that connected by the entrance: the profile of the rules or of the listener, and no locality
// but the listener's. If a listener or namespace gives a client another TPM than the main TPM, its profile gives no
// right to administer tpmspaced. A client that may be in namespaces with different TPMs gets nothing.
[[nodiscard]] Choice choose(const Policy& policy, const Principal& principal, const Entrance& entrance);
// The name of the TPM for the client's commands. `home`: the client's namespace; null: none.
[[nodiscard]] std::string chip_of(const Entrance& entrance, const Namespace* home);
}  // namespace tpmspace::guard
