// Which profile a client gets: rules over who it is and which door it came by, and the first that matches wins.
//
// Idea: a rule names what must be so; what it does not name may be anything; what is not known about a client matches
// no rule that names it. A rule that names the executable can only narrow, since a client chooses what it seems to be
// (connect, fork, exec): its profile is intersected with what the rules after it give. When nothing matches the client
// gets `safe`. So neither lying about an executable nor being unknown ever gives more.
// Threads: constant after `make`; judging allocates (the profiles' names), so a connection does it once.
// Errors: one sentence: a rule names a profile that does not exist, or a profile has the name of a shipped one.
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

#include "guard/pattern.h"
#include "guard/principal.h"
#include "guard/profile.h"
#include "wire/numbers.h"

namespace tpmspace::guard {

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

  std::string profile;  // which such a client gets
  Numbers disabled;     // commands that it is denied beyond that: answered DISABLED

  [[nodiscard]] bool matches(const Principal& principal, std::string_view through_door) const;
  [[nodiscard]] bool only_narrows() const { return executable.has_value(); }
  // Whoever `later` matches, this one matches, too (what patterns have in common is not looked into).
  [[nodiscard]] bool covers(const Rule& later) const;

  bool operator==(const Rule&) const = default;
};

// A client's profile, and why: places in Policy::rules(), in order. All but the last only narrowed; so did the last
// when no rule gave a profile: the door did (`by_door`), or `safe` is what is left (`by_default`).
struct Choice {
  Profile profile;
  std::vector<std::size_t> rules = {};
  bool by_door = false, by_default = false;
};

class Policy {
 public:
  using Profiles = std::map<std::string, Profile, std::less<>>;

  // `own`: profiles beside the shipped ones, by their names. `terms` and `limits` are those of the shipped ones.
  [[nodiscard]] static tl::expected<Policy, std::string> make(Profiles own, std::vector<Rule> rules,
                                                              const SessionTerms& terms = {},
                                                              const Limits& limits = {});
  // As installed: root and the daemon's own uid get `admin`, everybody else `safe`.
  [[nodiscard]] static Policy standard(std::uint32_t own_uid);
  [[nodiscard]] static Rule standard_rule(std::uint32_t own_uid);

  // `door_profile`: of the door, if it has one. It stands behind the rules that somebody wrote and before those that
  // nobody did (`line` 0): a container's root, who comes by a door that was made for it, is no administrator. One that
  // does not exist any more allows nothing.
  [[nodiscard]] Choice choose(const Principal& principal, std::string_view door,
                              std::string_view door_profile = {}) const;
  // Null: none has this name.
  [[nodiscard]] const Profile* profile(std::string_view name) const;
  [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }
  bool operator==(const Policy&) const = default;

 private:
  Policy() = default;

  Profiles profiles_;        // the shipped ones included
  std::vector<Rule> rules_;  // each names a profile that is there
};

}  // namespace tpmspace::guard
