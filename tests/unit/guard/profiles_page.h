// docs/profiles.md, as the code has it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tpmspace::guard {

[[nodiscard]] std::string profiles_page();
// The classes that the page explains.
[[nodiscard]] std::vector<std::string_view> classes_of_profiles_page();

}  // namespace tpmspace::guard
