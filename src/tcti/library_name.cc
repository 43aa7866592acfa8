#include "tcti/library_name.h"

#include <dlfcn.h>

namespace tpmspace::tcti {

bool is_tabrmd_library(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const auto name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  constexpr std::string_view kName = "libtss2-tcti-tabrmd.so";
  return name.starts_with(kName) && (name.size() == kName.size() || name[kName.size()] == '.');
}

bool loaded_as_tabrmd() {
  static const char kHere = 0;  // an address in this library
  Dl_info info{};
  return ::dladdr(&kHere, &info) != 0 && info.dli_fname != nullptr && is_tabrmd_library(info.dli_fname);
}

}  // namespace tpmspace::tcti
