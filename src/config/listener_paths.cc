#include "config/listener_paths.h"

#include <filesystem>
#include <system_error>

#include "config/names.h"

namespace tpmspace::config {

std::string default_listener_path(std::string_view main, std::string_view name) {
  std::error_code failed;
  auto socket = std::filesystem::absolute(std::filesystem::path(main), failed).lexically_normal();
  if (failed) socket = main;
  std::string directory = socket.parent_path().string();
  if (directory == "/") directory += "tpmspace";
  return directory + "-listeners/" + std::string(name) + "/tpm.sock";
}

bool same_place(std::string_view a, std::string_view b) {
  return std::filesystem::path(a).lexically_normal() == std::filesystem::path(b).lexically_normal();
}

bool is_directory_name(std::string_view name) {
  return is_name(name) && name != "." && name != "..";
}

}  // namespace tpmspace::config
