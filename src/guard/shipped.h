// The profiles that tpmspace comes with. docs/profiles.md shows them whole; a test compares it with this.
//
//   safe       for all users: their own keys, sealing, policy sessions, quotes, random numbers, public reads. Nothing
//              that changes the view of other users, spends a shared resource, or uses their objects
//   storage    keeps keys and data: as safe without attestation, and writes NV indices by their own authorization
//   attest     attests the machine: as safe, with the persistent keys of the endorsement range, anonymous
//              signatures (Commit) and the audit of commands
//   provision  sets up: as safe, with NV indices and persistent objects made, used and removed, and the authorizations
//              of owner and endorsement hierarchy changed. No lockout, no platform, no PCR
//   admin      everything, vendor commands and commands newer than the table included
//
// Threads: constants.
#pragma once

#include <string_view>

#include "guard/profile.h"

namespace tpmspace::guard {

[[nodiscard]] const Profile& safe();
[[nodiscard]] const Profile& storage();
[[nodiscard]] const Profile& attest();
[[nodiscard]] const Profile& provision();
[[nodiscard]] const Profile& admin();

// In the order above.
[[nodiscard]] std::span<const Profile* const> shipped_profiles();
// Null: no shipped profile has this name.
[[nodiscard]] const Profile* shipped_profile(std::string_view name);
// The profile allows operations that `safe` does not: unfit for every user.
[[nodiscard]] bool exceeds_safe(const Profile& profile);

}  // namespace tpmspace::guard
