// Who may do what, and with which TPM: what the configuration comes to, as a value.
//
// Idea: a policy, the listeners by which clients come in, and the chips (TPMs) that are served. `choose` is the one
// answer to what a client gets that came in somewhere; it is asked for each connection and by `policy explain`.
// Threads: values; functions of their arguments. Limits: of the configuration.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "guard/listener.h"
#include "guard/principal.h"
#include "guard/rules.h"

namespace tpmspace::guard {

// The chip that `tpm` names, or --tpm.
inline constexpr std::string_view kMainChip = "main";

// A TPM that is served, and as what.
struct Chip {
  std::string name = std::string(kMainChip);
  std::string tpm = {};         // a back end's specification, as --tpm takes it
  std::string ledger = {};      // where the sessions that are ours on a shared chip are written; empty: nowhere
  bool default_ledger = false;  // nobody named it: the directory of the default socket is made for it
  bool operator==(const Chip&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
// Who may do what, and with which TPM.
struct Access {
  // The file's rules, then the standard rule. Profiles of namespaces and listeners come between them (guard/rules.h).
  Policy policy = Policy::standard(0);
  std::vector<Listener> listeners;
  std::vector<Chip> chips = {Chip{}};  // the main one is the first; no two of them are the same TPM
  bool operator==(const Access&) const = default;

  // Null: none has this name, or it is the main one.
  [[nodiscard]] const Listener* listener(std::string_view name) const;
  // Likewise for a listener of this name.
  [[nodiscard]] Choice choose(const Principal& principal, std::string_view by_listener) const;
};
// What somebody gets who came in there: the rules' profile or the listener's, and no other locality than the
// listener's. Whom a listener or namespace gives another TPM than the main one, he does not administer tpmspaced by
// their profile. A client that may be in namespaces with different TPMs gets nothing.
[[nodiscard]] Choice choose(const Policy& policy, const Principal& principal, const Entrance& entrance);
// The name of the TPM that its commands go to. `home`: its namespace; null: none.
[[nodiscard]] std::string chip_of(const Entrance& entrance, const Namespace* home);
}  // namespace tpmspace::guard
