// Where the parts of tpmspace are: the daemon, and the library for TSS programs.
//
// Idea: files beside this program belong to it (a build, a package unpacked anywhere) and are preferred. Otherwise the
// system is asked: PATH for programs, the dynamic linker for the library.
// Threads: one. Errors: an empty string means not found.
#pragma once

#include <string>

namespace tpmspace::tool {

inline constexpr const char* kLibrary = "libtss2-tcti-space.so.0";

// The folder of this program.
[[nodiscard]] std::string own_directory();

// Beside this program, in ../bin, ../sbin, ../libexec, ../libexec/tpmspace, then in PATH.
[[nodiscard]] std::string find_daemon();

struct LibraryPlaces {
  std::string by_itself;  // where the dynamic linker finds the library for any program, LD_LIBRARY_PATH included
  std::string beside;     // the library's place relative to this program
};
// Absolute paths without links; only loadable libraries count.
[[nodiscard]] LibraryPlaces find_library();

}  // namespace tpmspace::tool
