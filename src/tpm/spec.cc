#include "tpm/spec.h"

#include <fmt/core.h>

#include <charconv>
#include <limits>
#include <map>
#include <utility>
#include <vector>

namespace tpmspace::tpm {
namespace {

using Failure = tl::unexpected<std::string>;
using Values = std::map<std::string_view, std::string_view>;

std::string forms() {
  return fmt::format(
      "write embedded[:DIR], swtpm:path=SOCKET, swtpm:host=HOST,port=PORT, device:/dev/tpm0 or device:fd=N, and append "
      "a comma and {} for the speed of a chip",
      latency_choices());
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t comma = text.find(','); comma != std::string_view::npos; comma = text.find(',')) {
    parts.push_back(text.substr(0, comma));
    text.remove_prefix(comma + 1);
  }
  parts.push_back(text);
  return parts;
}

// "a=b" words; each key at most once, no empty value.
tl::expected<Values, std::string> read_values(std::string_view text, const std::vector<std::string_view>& words) {
  Values values;
  for (const std::string_view word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == word.size())
      return Failure(fmt::format("'{}' in the TPM '{}' is not KEY=VALUE: {}", word, text, forms()));
    if (!values.emplace(word.substr(0, equals), word.substr(equals + 1)).second)
      return Failure(fmt::format("the TPM '{}' gives '{}' twice: give the key once", text, word.substr(0, equals)));
  }
  return values;
}

std::optional<std::string_view> take(Values& values, std::string_view key) {
  const auto found = values.find(key);
  if (found == values.end()) return std::nullopt;
  const std::string_view value = found->second;
  values.erase(found);
  return value;
}

template <typename Number>
std::optional<Number> to_number(std::string_view digits) {
  Number number = 0;
  const char* const end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return number;
}

tl::expected<std::uint16_t, std::string> to_port(std::string_view digits) {
  const auto port = to_number<std::uint16_t>(digits);
  if (!port || *port == 0) return Failure(fmt::format("'{}' is not a TCP port: give a number from 1 to 65535", digits));
  return *port;
}

tl::expected<std::optional<ChipModel>, std::string> read_latency(Values& values) {
  const auto name = take(values, "latency");
  if (!name) return std::optional<ChipModel>();
  for (const ChipModel model : kChipModels)
    if (*name == name_of(model)) return std::optional(model);
  return Failure(fmt::format("no latency figures for '{}': write {}", *name, latency_choices()));
}

tl::expected<Spec, std::string> unix_swtpm(std::string_view path, Values& values) {
  const auto control = take(values, "ctrl");
  return Spec{SwtpmUnixSpec{std::string(path), control ? std::string(*control) : fmt::format("{}.ctrl", path)}, {}};
}

tl::expected<Spec, std::string> tcp_swtpm(std::string_view host, std::string_view port_text, Values& values) {
  const auto port = to_port(port_text);
  if (!port) return Failure(port.error());
  if (const auto control_text = take(values, "ctrl")) {
    const auto control = to_port(*control_text);
    if (!control) return Failure(control.error());
    return Spec{SwtpmTcpSpec{std::string(host), *port, *control}, {}};
  }
  if (*port == std::numeric_limits<std::uint16_t>::max())
    return Failure(
        "port 65535 has no successor for the control channel: name the control channel's port with ctrl=PORT");
  return Spec{SwtpmTcpSpec{std::string(host), *port, static_cast<std::uint16_t>(*port + 1)}, {}};
}

tl::expected<Spec, std::string> read_swtpm(std::string_view text, Values& values) {
  const auto path = take(values, "path");
  const auto host = take(values, "host");
  const auto port = take(values, "port");
  if (path && !host && !port) return unix_swtpm(*path, values);
  if (host && port && !path) return tcp_swtpm(*host, *port, values);
  return Failure(
      fmt::format("the TPM '{}' does not name swtpm's socket or host: write swtpm:path=SOCKET, or "
                  "swtpm:host=HOST,port=PORT, not both",
                  text));
}

// `place`: the text after "device:", up to the first comma.
tl::expected<Spec, std::string> read_device(std::string_view text, std::string_view place) {
  constexpr std::string_view kFd = "fd=";
  if (place.starts_with(kFd)) {
    const auto fd = to_number<int>(place.substr(kFd.size()));
    if (!fd || *fd < 0)
      return Failure(fmt::format("'{}' in the TPM '{}' is not a descriptor: give a number, as in device:fd=3",
                                 place.substr(kFd.size()), text));
    return Spec{DescriptorSpec{*fd}, {}};
  }
  if (place.empty()) return Failure(fmt::format("the TPM '{}' names no device: write device:/dev/tpm0", text));
  if (place.front() != '/')
    return Failure(fmt::format("'{}' is not an absolute path: write device:/dev/tpm0, or device:fd=N", place));
  return Spec{DeviceSpec{std::string(place)}, {}};
}

tl::expected<Spec, std::string> read_embedded(std::optional<std::string_view> place) {
  if (place && place->empty())
    return Failure("'embedded:' names no directory: write embedded:DIR, or embedded for a TPM that lives in memory");
  return Spec{EmbeddedSpec{std::string(place.value_or(""))}, {}};
}

}  // namespace

std::string_view name_of(ChipModel model) {
  return model == ChipModel::kSlb9670 ? "slb9670" : "st33ktpm2x";
}

std::string latency_choices() {
  std::string out;
  for (const ChipModel model : kChipModels)
    out += fmt::format("{}latency={}", out.empty() ? "" : " or ", name_of(model));
  return out;
}

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::kEmbedded:
      return "embedded";
    case Kind::kSwtpm:
      return "swtpm";
    case Kind::kDevice:
      return "device";
  }
  return "?";
}

Kind Spec::kind() const {
  if (std::holds_alternative<EmbeddedSpec>(backend)) return Kind::kEmbedded;
  if (std::holds_alternative<SwtpmUnixSpec>(backend) || std::holds_alternative<SwtpmTcpSpec>(backend))
    return Kind::kSwtpm;
  return Kind::kDevice;
}

tl::expected<Spec, std::string> parse_spec(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return Failure("a TPM's name cannot contain a zero byte");
  auto words = split(text);
  const std::string_view head = words.front();
  const std::size_t colon = head.find(':');
  const std::string_view name = head.substr(0, colon);
  std::optional<std::string_view> place;
  if (colon != std::string_view::npos) place = head.substr(colon + 1);
  words.erase(words.begin());
  if (name == "swtpm" && place) words.insert(words.begin(), *place);

  auto values = read_values(text, words);
  if (!values) return Failure(values.error());
  const auto latency = read_latency(*values);
  if (!latency) return Failure(latency.error());

  tl::expected<Spec, std::string> spec = Failure(fmt::format("'{}' is not a kind of TPM: {}", name, forms()));
  if (name == "embedded") spec = read_embedded(place);
  if (name == "swtpm") spec = read_swtpm(text, *values);
  if (name == "device") spec = read_device(text, place.value_or(""));
  if (!spec) return spec;
  if (!values->empty())
    return Failure(fmt::format("'{}' is unknown in the TPM '{}': {}", values->begin()->first, text, forms()));
  spec->latency = *latency;
  return spec;
}

namespace {
struct Text {
  std::string operator()(const EmbeddedSpec& s) const {
    return s.directory.empty() ? "embedded" : "embedded:" + s.directory;
  }
  std::string operator()(const SwtpmUnixSpec& s) const {
    return fmt::format("swtpm:path={},ctrl={}", s.path, s.control);
  }
  std::string operator()(const SwtpmTcpSpec& s) const {
    return fmt::format("swtpm:host={},port={},ctrl={}", s.host, s.port, s.control_port);
  }
  std::string operator()(const DeviceSpec& s) const { return "device:" + s.path; }
  std::string operator()(const DescriptorSpec& s) const { return fmt::format("device:fd={}", s.fd); }
};
}  // namespace

std::string to_text(const Spec& spec) {
  std::string text = std::visit(Text(), spec.backend);
  if (spec.latency) text += fmt::format(",latency={}", name_of(*spec.latency));
  return text;
}

}  // namespace tpmspace::tpm
