// Under which name this library was loaded: its own, or that of tpm2-abrmd's, by a symbolic link.
//
// Idea: tctildr makes a file name of a TCTI's name: "tabrmd" is libtss2-tcti-tabrmd.so.0. The dynamic linker keeps the
// name that a library was first loaded by, so a process that uses it under both names has the first one for both.
// Threads: any. Errors: a name that cannot be had is our own.
// Source: dladdr(3); tss2-tctildr(3).
#pragma once

#include <string_view>

namespace tpmspace::tcti {

[[nodiscard]] bool is_tabrmd_library(std::string_view path);
[[nodiscard]] bool loaded_as_tabrmd();

}  // namespace tpmspace::tcti
