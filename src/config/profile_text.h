// A profile as text of the configuration: the reverse of profile_tables.h.
//
// Idea: commands by name, handles in the usual notation, adjacent numbers as a range; an empty set is left out, since
// without a base an unwritten set is empty. If a set has a number that no entry can express, the whole set becomes
// "all". Terms and limits are not written: the file's apply.
// Threads: a function of its arguments. Errors: none. For a profile that guard::has_room, the text is read back as the
// same sets; the text is shorter than 32 KiB.
#pragma once

#include <string>

#include "guard/profile.h"

namespace tpmspace::config {

// Precondition: is_name(name); the profile disables nothing and does not administer.
[[nodiscard]] std::string to_toml(const guard::Profile& profile, const std::string& name);

}  // namespace tpmspace::config
