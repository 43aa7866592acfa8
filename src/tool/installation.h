// Where the parts of tpmspace lie, seen from this program: the daemon, and the library that TSS programs load.
//
// Idea: what lies beside this program belongs to it (a build, a package unpacked anywhere), so it is preferred; else
// the system is asked: PATH for programs, the dynamic linker for the library. Threads: one. Errors: an empty string is
// "not there".
#pragma once

#include <string>

namespace tpmspace::tool {

inline constexpr const char* kLibrary = "libtss2-tcti-space.so.0";

// The folder that this program lies in.
[[nodiscard]] std::string own_directory();

// Beside this program, in ../bin, ../sbin, ../libexec, ../libexec/tpmspace, then in PATH.
[[nodiscard]] std::string find_daemon();

struct LibraryPlaces {
  std::string by_itself;  // where the dynamic linker finds it for any program, LD_LIBRARY_PATH included
  std::string beside;     // where it lies relative to this program
};
// Absolute paths without links; only what can be loaded counts.
[[nodiscard]] LibraryPlaces find_library();

}  // namespace tpmspace::tool
