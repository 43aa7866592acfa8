// Who may do what and by which doors they come, as the configuration says it.
//
// Idea: the parts from which a policy is made; a door that is made at run time is one more part, so the policy is made
// anew from all of them. Rules are asked in this order: those of the file; a door's own profile; the standard rule:
// root and the daemon's own uid get `admin`. So root who comes by a door with a profile has that profile: a container's
// root is root, too.
// Threads: a value. Errors: one sentence.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/doors.h"
#include "guard/rules.h"

namespace tpmspace::daemon {

struct Access {
  guard::Policy::Profiles profiles = {};
  std::vector<guard::Rule> rules = {};
  std::vector<DoorTerms> doors = {};  // beside the main one
};

// `doors`: all that there are.
[[nodiscard]] tl::expected<std::shared_ptr<const guard::Policy>, std::string> policy_of(
    const Access& access, const std::vector<DoorTerms>& doors, std::uint32_t own_uid);

}  // namespace tpmspace::daemon
