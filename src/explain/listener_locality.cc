#include "explain/listener_locality.h"

#include <fmt/core.h>

#include <algorithm>

#include "guard/shipped.h"

namespace tpmspace::explain {

std::optional<std::string> trouble_with_locality(const guard::Listener& listener, const std::vector<guard::Rule>& rules,
                                                 const std::vector<guard::Namespace>& namespaces,
                                                 const ProfileOf& profile_of) {
  if (listener.profile || !listener.locality) return std::nullopt;
  const auto lists_it = [&](const std::string& profile) {
    return profile_of(profile).localities.contains(*listener.locality);
  };
  const auto is_here = [&](const guard::Rule& rule) { return !rule.listener || *rule.listener == listener.name; };
  const bool by_rule = std::any_of(rules.begin(), rules.end(), [&](const guard::Rule& rule) {
    return rule.line != 0 && !rule.only_narrows() && is_here(rule) && lists_it(rule.profile);
  });
  const bool by_namespace = std::any_of(namespaces.begin(), namespaces.end(), [&](const guard::Namespace& one) {
    return one.profile && is_here(one.members) && lists_it(*one.profile);
  });
  if (by_rule || by_namespace || lists_it(guard::safe().name)) return std::nullopt;
  return fmt::format(
      "all commands of clients of this listener, except administrators, are refused: the listener has locality {}, and "
      "no profile that applies there lists this locality; give the listener a \"profile\" that lists it",
      *listener.locality);
}

}  // namespace tpmspace::explain
