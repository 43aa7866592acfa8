#include "tool/fapi.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "proto/json.h"

namespace tpmspace::tool {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInstalledProfiles = "/etc/tpm2-tss/fapi-profiles";
constexpr std::string_view kEmbedded = "embedded:";

std::string config_text(const FapiPlaces& places, const std::string& profiles) {
  return "{\n  \"profile_name\": \"P_ECCP256SHA256\",\n  \"profile_dir\": " + proto::json_string(profiles + "/") +
         ",\n  \"user_dir\": " + proto::json_string(places.keystore + "/user") +
         ",\n  \"system_dir\": " + proto::json_string(places.keystore + "/system") +
         ",\n  \"log_dir\": " + proto::json_string(places.scratch + "/log") +
         ",\n  \"tcti\": " + proto::json_string("space:path=" + places.socket) +
         ",\n  \"system_pcrs\": [],\n  \"ek_cert_less\": \"yes\"\n}\n";
}

bool write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file.good();
}

}  // namespace

tl::expected<void, std::string> write_fapi_config(const FapiPlaces& places) {
  std::error_code failed;
  std::string profiles = kInstalledProfiles;
  if (std::error_code absent; !fs::is_directory(profiles, absent)) profiles = places.scratch + "/profiles";
  for (const auto& folder :
       {places.keystore + "/user/policy", places.keystore + "/system/policy", places.scratch + "/log", profiles}) {
    fs::create_directories(folder, failed);
    if (failed)
      return tl::make_unexpected("cannot make the directory " + folder + " for FAPI: " + failed.message() +
                                 "; check the permissions of the directories above it, and whether the disk is full");
  }
  if (!write_file(places.config, config_text(places, profiles)))
    return tl::make_unexpected("cannot write FAPI's configuration " + places.config + "; is the disk full?");
  return {};
}

std::optional<std::string> state_directory(std::string_view tpm) {
  if (!tpm.starts_with(kEmbedded)) return std::nullopt;
  const std::string_view directory = tpm.substr(kEmbedded.size(), tpm.find(',') - kEmbedded.size());
  std::error_code failed;
  if (directory.empty()) return std::nullopt;
  return fs::absolute(directory, failed).lexically_normal().string();
}

}  // namespace tpmspace::tool
