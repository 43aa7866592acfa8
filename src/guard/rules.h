// Chooses a client's profile: rules on the client's attributes and its listener; the first match wins.
//
// Idea: a rule restricts only the attributes it names. If an attribute of a client is unknown (guard/known.h), several
// cases are possible: each namespace that the client may be in, and in each namespace every rule that may match, up to
// the first rule that does match. The client gets the permissions that all cases allow, and at most `safe`. So an
// unknown attribute never gives more rights, whether a rule gives or takes, and wherever the rule stands.
// A rule that names the executable can only narrow, since a client can imitate any executable (connect, fork, exec):
// the rule's profile is intersected with the result of the later rules. If the executable is unknown, the rule may
// match, so the rule narrows. If no rule matches, the client gets `safe`.
// The standard rule makes administrators of root and of the daemon's own user, if the client is known to be native
// (Principal::is_native) and in no namespace with a condition on its members' place. Unreadable attributes of such an
// administrator (executable, kernel namespaces, label, groups) do not count: no rule on an unreadable attribute binds
// the administrator.
// The settings of a TPM namespace apply to its members in addition. Another namespace's window exists only for its
// members and for administrators. If a namespace is removed, its members keep the rights they would get outside, at
// most `safe`. Threads: constant after `make`; judging allocates (the profiles' names), so a connection judges once.
// Errors: one sentence: a rule or namespace names a missing profile or namespace, or a profile has the name of a
// shipped profile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "guard/namespaces.h"
#include "guard/principal.h"
#include "guard/profile.h"
#include "guard/rule.h"

namespace tpmspace::guard {

// A client's profile with its reasons: indices in Policy::rules(), in order. All rules but the last only narrowed. If
// no rule gave a profile, the last rule narrowed as well, and the profile comes from the namespace (`by_namespace`),
// the listener (`by_listener`) or from `safe` (`by_default`). In doubt: every rule that may have matched, and each
// possible source.
struct Choice {
  Profile profile;
  std::vector<std::size_t> rules = {};
  bool by_namespace = false, by_listener = false, by_default = false;
  bool in_doubt = false;                // several cases are possible, or the client is not identified
  std::vector<std::size_t> homes = {};  // if the namespace is in doubt: indices in Policy::namespaces() of the possible
                                        // namespaces
};

// The kernel shows this uid for every user without a number in our user namespace (user_namespaces(7)): the uid
// identifies no user.
inline constexpr std::uint32_t kOverflowUid = 65534;

class Policy {
 public:
  using Profiles = std::map<std::string, Profile, std::less<>>;

  // `own`: profiles beside the shipped profiles, by their names. `terms` and `limits` apply to the shipped profiles.
  [[nodiscard]] static tl::expected<Policy, std::string> make(Profiles own, std::vector<Rule> rules,
                                                              const SessionTerms& terms = {}, const Limits& limits = {},
                                                              std::vector<Namespace> namespaces = {});
  // The installed default: root and the daemon's own uid get `admin`, all other users `safe`.
  [[nodiscard]] static Policy standard(std::uint32_t own_uid);
  [[nodiscard]] static Rule standard_rule(std::uint32_t own_uid);

  // `listener_profile`: of the listener, if it has a profile. The profile comes after the written rules and the
  // namespace's profile, and before the built-in rules (`line` 0): a container's root that connects by the container's
  // own listener is no administrator. The name of a removed profile allows nothing.
  [[nodiscard]] Choice choose(const Principal& principal, std::string_view listener,
                              std::string_view listener_profile = {}) const;
  // Removes the handles of other namespaces, and the handles outside the principal's own namespace. `choose` has done
  // so; call again for a client that has narrowed its rights since, such as the right to administer.
  void confine(Profile& profile, const Principal& principal, std::string_view listener) const;

  // The namespaces that the principal may belong to; null means outside all. A single element is certain. Never empty.
  [[nodiscard]] std::vector<const Namespace*> homes_of(const Principal& principal, std::string_view listener) const;
  // Null: no namespace has this name.
  [[nodiscard]] const Namespace* namespace_named(std::string_view name) const;
  [[nodiscard]] const std::vector<Namespace>& namespaces() const { return namespaces_; }

  // Null: no profile has this name.
  [[nodiscard]] const Profile* profile(std::string_view name) const;
  [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }
  bool operator==(const Policy&) const = default;

 private:
  Policy() = default;

  // The standard rule makes the principal an administrator, even if other attributes could not be read.
  [[nodiscard]] bool is_known_administrator(const Principal& principal) const;
  // The principal's profile in that namespace (null: outside), before `confine`; adds the reasons to `choice`.
  [[nodiscard]] Profile profile_in(const Namespace* home, const Principal& principal, std::string_view listener,
                                   std::string_view listener_profile, Choice& choice) const;
  [[nodiscard]] std::optional<std::string> missing() const;

  Profiles profiles_;                  // the shipped profiles included
  std::vector<Rule> rules_;            // each names an existing profile and namespace
  std::vector<Namespace> namespaces_;  // each names an existing profile; names differ
  Numbers windows_;                    // the windows of all namespaces
  Numbers administrators_;             // uids of the standard rule
};

}  // namespace tpmspace::guard
