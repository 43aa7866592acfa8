#include "tool/installation.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace tpmspace::tool {
namespace {

namespace fs = std::filesystem;

// Where the dynamic linker finds `name`, if loadable.
std::string place_of(const std::string& name) {
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return "";
  std::string place;
  const link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr) {
    std::error_code failed;
    place = fs::weakly_canonical(map->l_name, failed).string();
  }
  dlclose(library);
  return place.empty() ? name : place;
}

}  // namespace

std::string own_directory() {
  std::error_code failed;
  return fs::read_symlink("/proc/self/exe", failed).parent_path().string();
}

std::string find_daemon() {
  const std::string here = own_directory();
  for (const char* folder : {"", "/../bin", "/../sbin", "/../libexec", "/../libexec/tpmspace"}) {
    std::string path = here + folder + "/tpmspaced";
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  const char* search = std::getenv("PATH");
  std::istringstream folders(search != nullptr ? search : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string path = folder + "/tpmspaced";
    if (!folder.empty() && access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

LibraryPlaces find_library() {
  LibraryPlaces out;
  out.by_itself = place_of(kLibrary);
  // The place in a build, and the installed place.
  for (const char* folder : {"../lib", TPMSPACE_LIBRARIES_FROM_PROGRAMS}) {
    out.beside = place_of(own_directory() + "/" + folder + "/" + kLibrary);
    if (!out.beside.empty()) break;
  }
  return out;
}

}  // namespace tpmspace::tool
