// A profile as the configuration would say it: the other direction of profile_tables.h.
//
// Idea: commands by name, handles as people write them, what is next to each other as a range; a set that is empty is
// left out, for without a base there is nothing in it. What no entry can stand for makes the whole set "all".
// Terms and limits are not written: those of the file hold.
// Threads: a function of its arguments. Errors: none. A profile that guard::has_room makes a text that is read again as
// the same sets; its length is below 32 KiB.
#pragma once

#include <string>

#include "guard/profile.h"

namespace tpmspace::config {

// Precondition: is_name(name); the profile disables nothing and does not administer.
[[nodiscard]] std::string to_toml(const guard::Profile& profile, const std::string& name);

}  // namespace tpmspace::config
