#include "proto/door_text.h"

#include <fmt/format.h>

namespace tpmspace::proto {

std::string described(const DoorEntry& door) {
  std::string out = fmt::format("mode {:04o}", door.mode);
  if (door.uid != kKeep) out += fmt::format(", owner {}", door.uid);
  if (door.gid != kKeep) out += fmt::format(", group {}", door.gid);
  out += door.profile.empty() ? ", profile by the rules" : ", profile " + door.profile;
  if (door.locality) out += fmt::format(", locality {}", *door.locality);
  if (!door.chip.empty()) out += ", chip " + door.chip;
  if (door.chip_lost) out += door.chip.empty() ? ", the TPM does not answer" : ", which does not answer";
  if (door.separate_users) out += ", separate users";
  return out;
}

}  // namespace tpmspace::proto
