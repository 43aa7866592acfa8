// The program's name and version. TPMSPACE_VERSION is the project's version, from CMake.
#pragma once

#include <string_view>

namespace tpmspace::daemon {

inline constexpr std::string_view kVersion = TPMSPACE_VERSION;
inline constexpr std::string_view kServerName = "tpmspaced " TPMSPACE_VERSION;

}  // namespace tpmspace::daemon
