// What the guard would say: `tpmspaced --explain AS COMMAND...`.
//
// Idea: AS becomes a principal, the words a command, and the guard is asked as the daemon asks it. What AS does not say
// is known and nothing special: no unit, no container, an executable that no rule names. That something is unknown AS
// can say, too: "cgroup=unknown", "process=unknown". Which TPM it is follows from listener and namespace; a client that
// may administer can choose another one. Threads: functions of their arguments. Errors: a sentence: AS or the command
// says nothing that can be judged.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "config/policy_file.h"
#include "guard/principal.h"
#include "guard/rules.h"
#include "guard/verdict.h"
#include "wire/command_table.h"

namespace tpmspace::explain {

// "uid=33,gid=33,cgroup=/system.slice/nginx.service,exe=/usr/sbin/nginx,listener=main,locality=0".
struct Visitor {
  guard::Principal principal;
  std::string listener = std::string(guard::kMainListener);
  std::uint8_t locality = 0;
  bool chose_chip = false;  // as an administrator: another one than it is given
};
[[nodiscard]] tl::expected<Visitor, std::string> visitor_from(std::string_view as, const guard::Access& access,
                                                              const config::Accounts& accounts);

struct Explanation {
  std::string command;  // as people read it
  guard::Choice choice;
  guard::Verdict verdict;
  std::string_view answer;                 // what tpmspaced itself answers though the guard refuses; empty: nothing
  bool answered = false;                   // whatever the parameters are
  std::string by_listener;                 // its name
  const guard::Namespace* home = nullptr;  // of `access`; null: the visitor is in none
  guard::Numbers pins;                     // indices that it may not try if they are PIN Fail indices
  std::string chip, chip_from;             // its TPM, and why
  std::string no_administrator;            // why root, or tpmspaced's own user, is none; empty: that is not so

  [[nodiscard]] bool succeeds() const { return answered || verdict.allowed(); }
};
[[nodiscard]] tl::expected<Explanation, std::string> explain(const guard::Access& access, const Visitor& visitor,
                                                             std::span<const std::string> words);

// The same of a choice that was made already: of a client that is connected. The table is that of its TPM.
[[nodiscard]] tl::expected<Explanation, std::string> explain_choice(guard::Choice choice, std::uint8_t locality,
                                                                    std::span<const std::string> words,
                                                                    wire::CommandTable table);
// Whether it is allowed, and why not: the first lines.
[[nodiscard]] std::string verdict_text(const Explanation& explanation);
// What gave the profile, and what narrowed it: `/etc/tpmspace/tpmspace.toml:12: gives "tls-key"`, one for each rule
// that matched and one for a profile that no rule gave. `home`: the client's namespace; null: none. `file`: where the
// rules are written.
[[nodiscard]] std::vector<std::string> reasons_of(const guard::Choice& choice, const guard::Access& access,
                                                  const guard::Namespace* home, const guard::Entrance& entrance,
                                                  const std::string& file);
// Why the standard rule does not make an administrator of a uid that it names: root, or tpmspaced's own user. `home`:
// as above. Nullopt: it does, or the profile comes from the configuration.
[[nodiscard]] std::optional<std::string> why_no_administrator(const guard::Principal& principal,
                                                              const guard::Choice& choice, const guard::Policy& policy,
                                                              const guard::Namespace* home);
// Lines. `file`: where the rules are written.
[[nodiscard]] std::string text_of(const Explanation& explanation, const guard::Access& access, const std::string& file);

}  // namespace tpmspace::explain
