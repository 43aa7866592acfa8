// The name under which this library was loaded: its own, or that of tpm2-abrmd's library, by a symbolic link.
//
// Idea: tctildr makes a file name from a TCTI's name: "tabrmd" is libtss2-tcti-tabrmd.so.0. The dynamic linker keeps
// the first name of a library, so a process that loads the library under both names sees the first name for both.
// Threads: any. Errors: an unknown name counts as the library's own.
// Source: dladdr(3); tss2-tctildr(3).
#pragma once

#include <string_view>

namespace tpmspace::tcti {

[[nodiscard]] bool is_tabrmd_library(std::string_view path);
[[nodiscard]] bool loaded_as_tabrmd();

}  // namespace tpmspace::tcti
