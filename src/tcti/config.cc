#include "tcti/config.h"

#include <charconv>

#include "client/socket_path.h"

namespace tpmspace::tcti {
namespace {

using Failure = tl::unexpected<std::string>;

Failure bad(std::string_view item, std::string_view why) {
  std::string sentence("\"");
  sentence.append(item).append("\" in the TCTI configuration: ").append(why);
  return Failure(sentence.append("; write space:path=PATH,locality=N,chip=NAME or space:/absolute/path or space:fd=N"));
}

template <typename T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The bus of tpm2-abrmd.
tl::expected<void, std::string> pass_over(std::string_view item, std::string_view key, std::string_view value) {
  if (key == "bus_type" && value != "system" && value != "session")
    return bad(item, "bus_type must be system or session (it has no effect)");
  return {};
}

// Reads one key=value; returns a sentence for an error.
tl::expected<void, std::string> take(std::string_view item, KnownKeys keys, Config& config) {
  const std::size_t equals = item.find('=');
  if (equals == std::string_view::npos) return bad(item, "not of the form key=value");
  const std::string_view key = item.substr(0, equals);
  const std::string_view value = item.substr(equals + 1);
  if (value.empty()) return bad(item, "no value");
  if (key == "path") {
    if (!config.path.empty()) return bad(item, "a second path");
    config.path = value;
    return {};
  }
  if (key == "locality") {
    if (config.locality) return bad(item, "a second locality");
    config.locality = number<std::uint8_t>(value);
    if (!config.locality) return bad(item, "the locality must be a number from 0 to 255");
    return {};
  }
  if (key == "chip") {
    if (!config.chip.empty()) return bad(item, "a second chip");
    config.chip = value;
    return {};
  }
  if (key == "fd") {
    if (config.fd) return bad(item, "a second descriptor");
    config.fd = number<int>(value);
    if (!config.fd || *config.fd < 0) return bad(item, "the descriptor must be a number from 0 on");
    return {};
  }
  if (keys == KnownKeys::kOursAndAbrmds && (key == "bus_name" || key == "bus_type")) return pass_over(item, key, value);
  return bad(item, "unknown key");
}

}  // namespace

tl::expected<Config, std::string> parse_config(std::string_view text, KnownKeys keys) {
  Config config;
  if (text.starts_with('/')) {
    config.path = text;
    return config;
  }
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    if (auto taken = take(text.substr(0, comma), keys, config); !taken) return Failure(std::move(taken.error()));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return bad(",", "nothing follows the last comma");
  }
  if (config.fd && !config.path.empty()) return bad("fd", "a descriptor and a path exclude each other");
  if (config.path.empty() && !config.fd) config.path = client::default_socket_path();
  return config;
}

}  // namespace tpmspace::tcti
