#include "tool/workplace.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "client/socket_path.h"
#include "tool/json.h"

namespace tpmspace::tool {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPattern = "/tpmspace-run-XXXXXX";
constexpr const char* kLongestSocket = "/notify.sock";
constexpr const char* kInstalledProfiles = "/etc/tpm2-tss/fapi-profiles";

bool serves(const std::string& base) {
  return base.starts_with('/') && base.find(',') == std::string::npos &&
         (base + kPattern + kLongestSocket).size() <= client::kMaxSocketPath && access(base.c_str(), W_OK | X_OK) == 0;
}

std::string base_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr && serves(runtime) ? runtime : "/tmp";
}

std::string fapi_config_text(const std::string& path, const std::string& profiles) {
  return "{\n  \"profile_name\": \"P_ECCP256SHA256\",\n  \"profile_dir\": " + json_string(profiles) +
         ",\n  \"user_dir\": " + json_string(path + "/fapi/user") +
         ",\n  \"system_dir\": " + json_string(path + "/fapi/system") +
         ",\n  \"log_dir\": " + json_string(path + "/fapi/log") +
         ",\n  \"tcti\": " + json_string("space:path=" + path + "/tpm.sock") +
         ",\n  \"system_pcrs\": [],\n  \"ek_cert_less\": \"yes\"\n}\n";
}

bool write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file.good();
}

}  // namespace

tl::expected<Workplace, std::string> Workplace::make() {
  std::string name = base_directory() + kPattern;
  if (mkdtemp(name.data()) == nullptr)
    return tl::make_unexpected("cannot make the directory " + name + ": " + std::strerror(errno) +
                               "; set XDG_RUNTIME_DIR to one that can be written");
  Workplace workplace(std::move(name));
  if (auto furnished = workplace.furnish(); !furnished) return tl::make_unexpected(std::move(furnished.error()));
  return workplace;
}

tl::expected<void, std::string> Workplace::furnish() const {
  std::error_code failed;
  for (const char* name : {"/fapi/user/policy", "/fapi/system/policy", "/fapi/log"})
    fs::create_directories(path_ + name, failed);
  std::string profiles = std::string(kInstalledProfiles) + "/";
  std::error_code absent;
  if (!fs::is_directory(kInstalledProfiles, absent)) {
    profiles = path_ + "/fapi/profiles/";
    fs::create_directories(profiles, failed);
  }
  if (failed || !write_file(daemon_config(), "") || !write_file(fapi_config(), fapi_config_text(path_, profiles)))
    return tl::make_unexpected("cannot write in " + path_ + "; is the disk full?");
  return {};
}

Workplace::Workplace(Workplace&& other) noexcept : path_(std::exchange(other.path_, "")) {}

Workplace::~Workplace() {
  if (path_.empty()) return;
  std::error_code ignored;  // what others still write into it while it goes is theirs
  fs::remove_all(path_, ignored);
}

}  // namespace tpmspace::tool
