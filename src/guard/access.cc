#include "guard/access.h"

#include <algorithm>

namespace tpmspace::guard {

const Listener* Access::listener(std::string_view name) const {
  const auto found =
      std::find_if(listeners.begin(), listeners.end(), [&](const Listener& one) { return one.name == name; });
  return found == listeners.end() ? nullptr : &*found;
}

Choice Access::choose(const Principal& principal, std::string_view by_listener) const {
  const Listener* there = listener(by_listener);
  return guard::choose(policy, principal,
                       there != nullptr ? entrance_of(*there) : Entrance{.listener = std::string(by_listener)});
}

std::string chip_of(const Entrance& entrance, const Namespace* home) {
  if (!entrance.chip.empty()) return entrance.chip;
  return home != nullptr && home->chip ? *home->chip : std::string(kMainChip);
}

Choice choose(const Policy& policy, const Principal& principal, const Entrance& entrance) {
  auto out = policy.choose(principal, entrance.listener, entrance.profile);
  const auto homes = policy.homes_of(principal, entrance.listener);
  const auto chip = chip_of(entrance, homes.front());
  const auto has_chip = [&](const Namespace* home) { return chip_of(entrance, home) == chip; };
  if (!std::all_of(homes.begin(), homes.end(), has_chip)) {
    out.profile = Profile{};
    out.profile.name = "nothing";
  }
  // If a listener or namespace gives another TPM, its profile concerns that TPM alone.
  if ((out.by_listener || out.by_namespace) && chip != kMainChip) {
    out.profile.administer = false;
    policy.confine(out.profile, principal, entrance.listener);
  }
  if (entrance.locality) out.profile.localities = out.profile.localities & wire::Numbers::one(*entrance.locality);
  return out;
}

}  // namespace tpmspace::guard
