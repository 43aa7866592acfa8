// Whether the clients of a listener can use the locality that the listener gives.
//
// Threads: a function of its arguments. Errors: a sentence.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "guard/listener.h"
#include "guard/rules.h"

namespace tpmspace::explain {

// Of a listener without a profile: no rule or namespace gives its visitors a profile that lists its locality. `rules`:
// the standard rules in the list are ignored.
using ProfileOf = std::function<const guard::Profile&(const std::string& name)>;
[[nodiscard]] std::optional<std::string> trouble_with_locality(const guard::Listener& listener,
                                                               const std::vector<guard::Rule>& rules,
                                                               const std::vector<guard::Namespace>& namespaces,
                                                               const ProfileOf& profile_of);

}  // namespace tpmspace::explain
