// The daemon's configuration file: any octets are answered with a configuration within its limits or with a sentence
// that says where; what was taken settles into a configuration that the daemon can start with or says why not.

#include "daemon/config.h"

#include "fuzz.h"

namespace tpmspace::fuzz {
namespace {

using daemon::Settings;

constexpr const char* kName = "f.toml";

void check_sentence(const std::string& sentence) {
  require(sentence.starts_with(std::string(kName) + ":"), "an error says where");
  require(sentence.size() > std::string(kName).size() + 6, "an error is a sentence");
}

void check_limits(const daemon::Limits& limits) {
  require(limits.connections_per_owner >= 1 && limits.objects >= 1 && limits.sessions >= 1 && limits.queue >= 1,
          "no limit shuts everybody out");
  require(limits.bytes >= 1U << 16U && limits.bytes <= INT64_MAX, "octets are within their bounds");
}

void check_texts(const Settings& settings) {
  for (const auto& text : {settings.tpm, settings.socket})
    require(!text || (!text->empty() && text->find('\0') == std::string::npos), "a text can be used as a C string");
  require(!settings.socket_mode || *settings.socket_mode <= 0777U, "a mode is permission bits");
}

void check_settled(const Settings& settings) {
  for (const bool is_root : {false, true}) {
    const daemon::Environment machine{is_root, std::nullopt, [is_root](std::string_view) { return is_root; }};
    const auto config = daemon::settle({}, settings, machine);
    if (!config) {
      require(!config.error().empty(), "an error is a sentence");
      continue;
    }
    require(!config->tpm.empty() && !config->socket.empty(), "nothing is missing");
    require(config->limits == settings.limits, "limits are the file's");
  }
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  std::string text;
  for (const auto octet : std::span(data, size)) text.push_back(static_cast<char>(octet));
  const auto settings = daemon::parse_settings(text, fuzz::kName);
  if (!settings) {
    fuzz::check_sentence(settings.error());
    return 0;
  }
  fuzz::check_limits(settings->limits);
  fuzz::check_texts(*settings);
  fuzz::check_settled(*settings);
  return 0;
}
