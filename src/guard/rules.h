// Which profile a client gets: rules over who it is and which listener it came by, and the first that matches wins.
//
// Idea: a rule names what must be so; what it does not name may be anything. Of a client of which something is unknown
// (guard/known.h) several things may be so: each namespace that it may be in, and in each of them every rule that may
// match it, up to the first that does. It gets what all of these allow, and at most `safe`. So being unknown never
// gives more, whether a rule gives or takes, and wherever it stands. A rule that names the executable can only narrow,
// since a client chooses what it seems to be (connect, fork, exec): its profile is intersected with what the rules
// after it give. If the executable is unknown the rule may match, so it narrows. When nothing matches the client gets
// `safe`. The standard rule makes administrators of root and of the daemon's own user, if they are known to be native
// (Principal::is_native) and in no namespace that says where its members are. What could not be read of such an
// administrator (executable, kernel namespaces, label, groups) is not held against it: no rule about these binds it.
// A member of a TPM namespace has what that says besides. To nobody else does another's window exist, except to an
// administrator. A namespace that is gone leaves its members what they would get outside, as far as `safe` has it, too.
// Threads: constant after `make`; judging allocates (the profiles' names), so a connection does it once.
// Errors: one sentence: a rule or namespace names what does not exist, or a profile has the name of a shipped one.
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

// A client's profile, and why: places in Policy::rules(), in order. All but the last only narrowed; so did the last
// when no rule gave a profile: the namespace did (`by_namespace`), or the listener (`by_listener`), or `safe` is what
// is left
// (`by_default`). If there is doubt: every rule that may have matched, and each of these that may have been so.
struct Choice {
  Profile profile;
  std::vector<std::size_t> rules = {};
  bool by_namespace = false, by_listener = false, by_default = false;
  bool in_doubt = false;                // several things may be so, or it is not identified
  std::vector<std::size_t> homes = {};  // if that is in doubt: places in Policy::namespaces() where it may be
};

// As this one the kernel shows everybody whose uid it has no number for (user_namespaces(7)): he is nobody.
inline constexpr std::uint32_t kOverflowUid = 65534;

class Policy {
 public:
  using Profiles = std::map<std::string, Profile, std::less<>>;

  // `own`: profiles beside the shipped ones, by their names. `terms` and `limits` are those of the shipped ones.
  [[nodiscard]] static tl::expected<Policy, std::string> make(Profiles own, std::vector<Rule> rules,
                                                              const SessionTerms& terms = {}, const Limits& limits = {},
                                                              std::vector<Namespace> namespaces = {});
  // As installed: root and the daemon's own uid get `admin`, everybody else `safe`.
  [[nodiscard]] static Policy standard(std::uint32_t own_uid);
  [[nodiscard]] static Rule standard_rule(std::uint32_t own_uid);

  // `listener_profile`: of the listener, if it has one. It stands behind the rules that somebody wrote and the profile
  // of the namespace, and before the rules that nobody wrote (`line` 0): a container's root, who comes by a listener
  // that was made for it, is no administrator. One that does not exist any more allows nothing.
  [[nodiscard]] Choice choose(const Principal& principal, std::string_view listener,
                              std::string_view listener_profile = {}) const;
  // Takes away what belongs to namespaces, and what is not of the principal's. `choose` has done it; again for a client
  // that has given rights away since, such as to administer.
  void confine(Profile& profile, const Principal& principal, std::string_view listener) const;

  // The namespaces that the principal may belong to; null stands for outside of all. One: it is certain. Never empty.
  [[nodiscard]] std::vector<const Namespace*> homes_of(const Principal& principal, std::string_view listener) const;
  // Null: none has this name.
  [[nodiscard]] const Namespace* namespace_named(std::string_view name) const;
  [[nodiscard]] const std::vector<Namespace>& namespaces() const { return namespaces_; }

  // Null: none has this name.
  [[nodiscard]] const Profile* profile(std::string_view name) const;
  [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }
  bool operator==(const Policy&) const = default;

 private:
  Policy() = default;

  // The standard rule makes an administrator of it: whatever could not be read of it.
  [[nodiscard]] bool is_known_administrator(const Principal& principal) const;
  // What the principal gets in that namespace (null: outside), before anything is confined; why is added to `choice`.
  [[nodiscard]] Profile profile_in(const Namespace* home, const Principal& principal, std::string_view listener,
                                   std::string_view listener_profile, Choice& choice) const;
  [[nodiscard]] std::optional<std::string> missing() const;

  Profiles profiles_;                  // the shipped ones included
  std::vector<Rule> rules_;            // each names a profile and a namespace that are there
  std::vector<Namespace> namespaces_;  // likewise; their names differ
  Numbers windows_;                    // of all of them
  Numbers administrators_;             // of the standard rule
};

}  // namespace tpmspace::guard
