#include "proto/listener_text.h"

#include <fmt/format.h>

namespace tpmspace::proto {

std::string described(const ListenerEntry& listener) {
  std::string out = fmt::format("mode {:04o}", listener.mode);
  if (listener.uid != kKeep) out += fmt::format(", owner {}", listener.uid);
  if (listener.gid != kKeep) out += fmt::format(", group {}", listener.gid);
  out += listener.profile.empty() ? ", profile by the rules" : ", profile " + listener.profile;
  if (listener.locality) out += fmt::format(", locality {}", *listener.locality);
  if (!listener.chip.empty()) out += ", chip " + listener.chip;
  if (listener.chip_lost) out += listener.chip.empty() ? ", the TPM does not answer" : ", which does not answer";
  if (listener.separate_users) out += ", separate users";
  return out;
}

}  // namespace tpmspace::proto
