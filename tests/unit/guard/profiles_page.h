// docs/profiles.md, as the code has it.
#pragma once

#include <string>

namespace tpmspace::guard {

[[nodiscard]] std::string profiles_page();

}  // namespace tpmspace::guard
