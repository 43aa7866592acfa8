#include "daemon/access.h"

#include <fmt/core.h>

#include <utility>

#include "guard/shipped.h"

namespace tpmspace::daemon {

tl::expected<std::shared_ptr<const guard::Policy>, std::string> policy_of(const Access& access,
                                                                          const std::vector<DoorTerms>& doors,
                                                                          std::uint32_t own_uid) {
  auto rules = access.rules;
  for (const DoorTerms& door : doors) {
    if (door.profile.empty()) continue;
    guard::Rule rule;
    rule.door = door.name;
    rule.profile = door.profile;
    rules.push_back(std::move(rule));
  }
  guard::Rule standard;
  standard.uids = wire::Numbers{{0, 0}, {own_uid, own_uid}};
  standard.profile = guard::admin().name;
  rules.push_back(std::move(standard));
  return guard::Policy::make(access.profiles, std::move(rules)).map([](guard::Policy policy) {
    return std::make_shared<const guard::Policy>(std::move(policy));
  });
}

}  // namespace tpmspace::daemon
