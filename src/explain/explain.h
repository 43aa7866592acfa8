// The guard's decision, explained: `tpmspaced --explain AS COMMAND...`.
//
// Idea: AS becomes a principal, the words become a command, and the guard is asked in the same way as by the daemon. An
// attribute missing in AS is known and ordinary: no unit, no container, an executable that no rule names. AS can also
// say that an attribute is unknown: "cgroup=unknown", "process=unknown". The TPM follows from listener and namespace; a
// client that may administer can choose another TPM.
// Threads: functions of their arguments. Errors: a sentence: AS or the command cannot be judged.
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
  bool chose_chip = false;  // as an administrator: chose another TPM than the default
};
[[nodiscard]] tl::expected<Visitor, std::string> visitor_from(std::string_view as, const guard::Access& access,
                                                              const config::Accounts& accounts);

struct Explanation {
  std::string command;  // for people
  guard::Choice choice;
  guard::Verdict verdict;
  std::string_view answer;                 // tpmspaced's own response in spite of the guard's refusal; empty: none
  bool answered = false;                   // for any parameters
  std::string by_listener;                 // name of the listener
  const guard::Namespace* home = nullptr;  // a namespace of `access`; null: the visitor is in none
  guard::Numbers pins;                     // indices that the visitor may not try if they are PIN Fail indices
  std::string chip, chip_from;             // the visitor's TPM, and the reason
  std::string no_administrator;            // why root, or tpmspaced's own user, is no administrator; empty: not
                                           // applicable

  [[nodiscard]] bool succeeds() const { return answered || verdict.allowed(); }
};
[[nodiscard]] tl::expected<Explanation, std::string> explain(const guard::Access& access, const Visitor& visitor,
                                                             std::span<const std::string> words);

// As `explain`, for a choice made before: for a connected client. The table is its TPM's.
[[nodiscard]] tl::expected<Explanation, std::string> explain_choice(guard::Choice choice, std::uint8_t locality,
                                                                    std::span<const std::string> words,
                                                                    wire::CommandTable table);
// Whether the command is allowed, and if not, the reason: the first lines.
[[nodiscard]] std::string verdict_text(const Explanation& explanation);
// The sources and the narrowings of the profile: `/etc/tpmspace/tpmspace.toml:12: gives "tls-key"`, one entry for each
// matching rule and one for a profile that no rule gave. `home`: the client's namespace; null: none. `file`: the file
// with the rules.
[[nodiscard]] std::vector<std::string> reasons_of(const guard::Choice& choice, const guard::Access& access,
                                                  const guard::Namespace* home, const guard::Entrance& entrance,
                                                  const std::string& file);
// Why the standard rule does not make an administrator of a uid that the rule names: root, or tpmspaced's own user.
// `home`: as above. Nullopt: the uid is an administrator, or the profile comes from the configuration.
[[nodiscard]] std::optional<std::string> why_no_administrator(const guard::Principal& principal,
                                                              const guard::Choice& choice, const guard::Policy& policy,
                                                              const guard::Namespace* home);
// Lines. `file`: the file with the rules.
[[nodiscard]] std::string text_of(const Explanation& explanation, const guard::Access& access, const std::string& file);

}  // namespace tpmspace::explain
