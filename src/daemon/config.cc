#include "daemon/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <utility>

#include "posix/fd.h"
#include "proto/socket_path.h"
#include "tpm/spec.h"

namespace tpmspace::daemon {
namespace {

std::string at(const std::string& name, const toml::source_region& where, std::string_view sentence) {
  return fmt::format("{}:{}:{}: {}", name, where.begin.line, where.begin.column, sentence);
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// What a value should have been; nullopt: it was right and is stored.
using Fault = std::optional<std::string>;

Fault take_text(const toml::node& node, std::optional<std::string>& out) {
  const auto* text = node.as_string();
  if (text == nullptr || text->get().empty()) return "must be a string that is not empty";
  if (text->get().find('\0') != std::string::npos) return "must not contain a zero octet";
  out = text->get();
  return std::nullopt;
}

Fault take_mode(const toml::node& node, std::optional<mode_t>& out) {
  static constexpr const char* kWanted = "must be permission bits in octal, such as \"0660\" or 0o660";
  if (const auto* text = node.as_string()) {
    out = parse_mode(text->get());
    return out ? Fault() : Fault(kWanted);
  }
  const auto* number = node.as_integer();
  // A plain 660 is decimal and would mean something nobody wants.
  if (number == nullptr || (number->flags() & toml::value_flags::format_as_octal) == toml::value_flags::none)
    return kWanted;
  if (number->get() < 0 || number->get() > 0777) return kWanted;
  out = static_cast<mode_t>(number->get());
  return std::nullopt;
}

Fault take_level(const toml::node& node, std::optional<LogLevel>& out) {
  if (const auto* text = node.as_string()) out = log_level_from(text->get());
  return out ? Fault() : Fault("must be \"error\", \"warning\", \"notice\", \"info\" or \"debug\"");
}

template <typename T>
Fault take_number(const toml::node& node, T& out, T least) {
  const auto* number = node.as_integer();
  // TOML's integers are signed.
  const std::uint64_t most =
      std::min<std::uint64_t>(std::numeric_limits<T>::max(), std::numeric_limits<std::int64_t>::max());
  if (number == nullptr || number->get() < 0 || std::cmp_less(number->get(), least) ||
      std::cmp_greater(number->get(), most))
    return fmt::format("must be a whole number from {} to {}", least, most);
  out = static_cast<T>(number->get());
  return std::nullopt;
}

// A path; "": none.
Fault take_ledger(const toml::node& node, std::optional<std::string>& out) {
  if (!node.is_string()) return "must be a string: a path, or \"\" for none";
  out = node.as_string()->get();
  return std::nullopt;
}

// "10s", "200ms", "5m", "1h", "endless"; nanoseconds.
Fault take_duration(const toml::node& node, std::uint64_t& out) {
  constexpr std::uint64_t kMillisecond = 1'000'000, kSecond = 1000 * kMillisecond;
  constexpr std::array<std::pair<std::string_view, std::uint64_t>, 4> kUnits{
      {{"ms", kMillisecond}, {"s", kSecond}, {"m", 60 * kSecond}, {"h", 3600 * kSecond}}};
  constexpr std::size_t kMostDigits = 6;  // a million hours are far from overflowing
  const std::string_view text = node.is_string() ? std::string_view(node.as_string()->get()) : std::string_view();
  if (text == "endless") {
    out = space::SessionTerms::kEndless;
    return std::nullopt;
  }
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  for (const auto& [unit, nanoseconds] : kUnits) {
    if (digits == 0 || digits > kMostDigits || text.substr(digits) != unit) continue;
    std::uint64_t number = 0;
    std::from_chars(text.data(), text.data() + digits, number);
    out = number * nanoseconds;
    return std::nullopt;
  }
  return "must be a time like \"10s\", \"200ms\", \"5m\", \"1h\", or \"endless\"";
}

Fault take_exhaustion(const toml::node& node, space::Exhaustion& out) {
  constexpr std::array<std::pair<std::string_view, space::Exhaustion>, 4> kNames{
      {{"refuse", space::Exhaustion::kRefuse},
       {"wait", space::Exhaustion::kWait},
       {"reclaim", space::Exhaustion::kReclaim},
       {"close", space::Exhaustion::kClose}}};
  for (const auto& [name, exhaustion] : kNames) {
    if (!node.is_string() || node.as_string()->get() != name) continue;
    out = exhaustion;
    return std::nullopt;
  }
  return "must be \"refuse\", \"wait\", \"reclaim\" or \"close\"";
}

struct Key {
  const char* name;
  Fault (*take)(const toml::node&, Settings&);
};
constexpr std::array kTopKeys{
    Key{"tpm", [](const toml::node& n, Settings& s) { return take_text(n, s.tpm); }},
    Key{"socket", [](const toml::node& n, Settings& s) { return take_text(n, s.socket); }},
    Key{"socket_mode", [](const toml::node& n, Settings& s) { return take_mode(n, s.socket_mode); }},
    Key{"ledger", [](const toml::node& n, Settings& s) { return take_ledger(n, s.ledger); }},
    Key{"log_level", [](const toml::node& n, Settings& s) { return take_level(n, s.log_level); }},
};
constexpr std::array kLimitKeys{
    Key{"connections", [](const toml::node& n, Settings& s) { return take_number(n, s.limits.connections, 0U); }},
    Key{"connections_per_owner",
        [](const toml::node& n, Settings& s) { return take_number(n, s.limits.connections_per_owner, 1U); }},
    Key{"objects", [](const toml::node& n, Settings& s) { return take_number(n, s.limits.objects, 1U); }},
    Key{"sessions", [](const toml::node& n, Settings& s) { return take_number(n, s.limits.sessions, 1U); }},
    Key{"bytes",
        [](const toml::node& n, Settings& s) { return take_number(n, s.limits.bytes, std::uint64_t{1} << 16); }},
    Key{"client_saved_sessions",
        [](const toml::node& n, Settings& s) { return take_number(n, s.limits.client_saved_sessions, 0U); }},
    Key{"queue", [](const toml::node& n, Settings& s) { return take_number(n, s.limits.queue, 1U); }},
};

constexpr std::array kProfileKeys{
    Key{"claim", [](const toml::node& n, Settings& s) { return take_number(n, s.limits.terms.claim, 1U); }},
    Key{"lease", [](const toml::node& n, Settings& s) { return take_duration(n, s.limits.terms.lease); }},
    Key{"tenure", [](const toml::node& n, Settings& s) { return take_duration(n, s.limits.terms.tenure); }},
    Key{"deadline", [](const toml::node& n, Settings& s) { return take_duration(n, s.limits.terms.deadline); }},
    Key{"exhaustion", [](const toml::node& n, Settings& s) { return take_exhaustion(n, s.limits.terms.exhaustion); }},
};

// Goes through one table; keeps the fault that stands first in the file.
class TableReader {
 public:
  TableReader(std::string name, Settings& settings) : name_(std::move(name)), settings_(settings) {}

  template <std::size_t N>
  void read(const toml::table& table, const std::array<Key, N>& keys, const std::string& prefix,
            std::initializer_list<std::string_view> subtables = {}) {
    std::vector<std::string> known;
    known.reserve(N + subtables.size());
    for (const auto& key : keys) known.emplace_back(key.name);
    for (const auto& subtable : subtables) known.push_back(fmt::format("[{}]", subtable));

    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      if (std::find(subtables.begin(), subtables.end(), name) != subtables.end()) continue;
      const auto found = std::find_if(keys.begin(), keys.end(), [name](const Key& k) { return name == k.name; });
      if (found == keys.end()) {
        fault(key.source(),
              fmt::format("the key \"{}{}\" is unknown; known here: {}", prefix, key.str(), quoted_list(known)));
      } else if (const auto wrong = found->take(node, settings_)) {
        fault(node.source(), fmt::format("\"{}{}\" {}", prefix, key.str(), *wrong));
      }
    }
  }
  // The table of that name in `table`, if it is there.
  [[nodiscard]] const toml::table* subtable(const toml::table& table, std::string_view name,
                                            const std::string& full_name) {
    const auto* node = table.get(name);
    if (node == nullptr) return nullptr;
    if (!node->is_table())
      fault(node->source(), fmt::format("\"{0}\" must be a table: write [{0}] on a line of its own", full_name));
    return node->as_table();
  }
  void fault(const toml::source_region& where, std::string_view sentence) {
    if (first_ && where.begin >= first_->first) return;
    first_ = {where.begin, at(name_, where, sentence)};
  }
  [[nodiscard]] std::optional<std::string> first_fault() const {
    return first_ ? std::optional(first_->second) : std::nullopt;
  }

 private:
  std::string name_;
  Settings& settings_;
  std::optional<std::pair<toml::source_position, std::string>> first_;
};

// What is right as TOML and can still be no TPM and no socket is a fault of the file, also where the command line says
// something else: it would be one on the day when that is left out.
void check_meaning(const toml::table& table, const Settings& settings, TableReader& reader) {
  if (settings.tpm)
    if (const auto spec = tpm::parse_spec(*settings.tpm); !spec)
      reader.fault(table.get("tpm")->source(), fmt::format("\"tpm\": {}", spec.error()));
  if (settings.socket && settings.socket->size() > proto::kMaxSocketPath)
    reader.fault(table.get("socket")->source(),
                 fmt::format("\"socket\" is too long: it has {} octets, at most {} are possible",
                             settings.socket->size(), proto::kMaxSocketPath));
}

tl::expected<std::string, std::string> read_file(const std::string& path) {
  const posix::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0)
    return tl::unexpected(fmt::format("the configuration {} cannot be read: {}", path, std::strerror(errno)));
  if (!S_ISREG(info.st_mode)) return tl::unexpected(fmt::format("the configuration {} is not a file", path));

  std::string text(limits::kMaxConfigFile + 1, '\0');
  std::size_t used = 0;
  while (used < text.size()) {
    const ssize_t n = ::read(fd.get(), text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return tl::unexpected(fmt::format("the configuration {} cannot be read: {}", path, std::strerror(errno)));
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  if (used > limits::kMaxConfigFile)
    return tl::unexpected(
        fmt::format("the configuration {} is longer than {} octets: it is not ours", path, limits::kMaxConfigFile));
  text.resize(used);
  return text;
}

tl::expected<std::string, std::string> default_socket(const Environment& environment) {
  if (environment.is_root) return proto::kSystemSocket;
  if (environment.xdg_runtime_dir && !environment.xdg_runtime_dir->empty())
    return *environment.xdg_runtime_dir + proto::kUserSocket;
  return tl::unexpected(
      std::string("there is no default place for the socket, because XDG_RUNTIME_DIR is not set; say --socket PATH"));
}

tl::expected<std::string, std::string> default_tpm(const Environment& environment) {
  if (environment.exists(kDefaultDevice)) return fmt::format("device:{}", kDefaultDevice);
  return tl::unexpected(
      fmt::format("there is no {}, so there is no TPM to serve; say --tpm SPEC, for example --tpm embedded, which "
                  "needs no hardware",
                  kDefaultDevice));
}

// Beside the default socket, under the device's name. What another program hands to us has no name.
std::string default_ledger(const std::string& default_socket, std::string_view tpm) {
  constexpr std::string_view kDevice = "device:/";
  if (!tpm.starts_with(kDevice)) return "";
  const std::string_view device = tpm.substr(0, tpm.find(','));
  // The kernel's resource manager flushes what is ours by itself.
  if (device.find("/tpmrm") != std::string_view::npos) return "";
  return default_socket.substr(0, default_socket.rfind('/') + 1) + "sessions-" +
         std::string(device.substr(device.rfind('/') + 1));
}

}  // namespace

Environment process_environment() {
  Environment out;
  out.is_root = ::geteuid() == 0;
  if (const char* dir = std::getenv("XDG_RUNTIME_DIR")) out.xdg_runtime_dir = dir;
  out.exists = [](std::string_view path) { return ::access(std::string(path).c_str(), F_OK) == 0; };
  return out;
}

std::optional<mode_t> parse_mode(std::string_view text) {
  if (text.starts_with("0o")) text.remove_prefix(2);
  if (text.size() < 3 || text.size() > 4 || (text.size() == 4 && text.front() != '0')) return std::nullopt;
  mode_t mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') return std::nullopt;
    mode = mode * 8 + static_cast<mode_t>(c - '0');
  }
  return mode;
}

std::vector<std::string> known_keys() {
  std::vector<std::string> out;
  out.reserve(kTopKeys.size() + kLimitKeys.size() + kProfileKeys.size());
  for (const auto& key : kTopKeys) out.emplace_back(key.name);
  for (const auto& key : kLimitKeys) out.push_back(fmt::format("limits.{}", key.name));
  for (const auto& key : kProfileKeys) out.push_back(fmt::format("profile.default.{}", key.name));
  return out;
}

tl::expected<Settings, std::string> parse_settings(std::string_view text, const std::string& name) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& e) {
    return tl::unexpected(at(name, e.source(), fmt::format("this is not TOML: {}", e.description())));
  }
  Settings settings;
  TableReader reader(name, settings);
  reader.read(table, kTopKeys, "", {"limits", "profile"});
  check_meaning(table, settings, reader);
  if (const auto* limits = reader.subtable(table, "limits", "limits")) reader.read(*limits, kLimitKeys, "limits.");
  // There is one profile until the guard is built.
  if (const auto* profiles = reader.subtable(table, "profile", "profile.default")) {
    reader.read(*profiles, std::array<Key, 0>{}, "profile.", {"default"});
    if (const auto* standard = reader.subtable(*profiles, "default", "profile.default"))
      reader.read(*standard, kProfileKeys, "profile.default.");
  }
  if (auto wrong = reader.first_fault()) return tl::unexpected(std::move(*wrong));
  return settings;
}

tl::expected<Settings, std::string> read_settings(const std::optional<std::string>& explicit_path) {
  const std::string path = explicit_path.value_or(std::string(kConfigFile));
  if (!explicit_path && ::access(path.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) return Settings{};
  return read_file(path).and_then([&](const std::string& text) { return parse_settings(text, path); });
}

tl::expected<Config, std::string> settle(const Settings& command_line, const Settings& file,
                                         const Environment& environment) {
  const auto either = [&](auto member) { return command_line.*member ? command_line.*member : file.*member; };
  Config out;
  out.socket_mode = either(&Settings::socket_mode).value_or(out.socket_mode);
  out.log_level = either(&Settings::log_level).value_or(out.log_level);
  out.limits = file.limits;

  auto tpm = either(&Settings::tpm);
  auto chosen_tpm = tpm ? tl::expected<std::string, std::string>(*tpm) : default_tpm(environment);
  if (!chosen_tpm) return tl::unexpected(chosen_tpm.error());
  out.tpm = std::move(*chosen_tpm);

  const auto socket = either(&Settings::socket);
  const auto ours = default_socket(environment);
  if (!socket && !ours) return tl::unexpected(ours.error());
  out.default_socket = ours && socket.value_or(*ours) == *ours;
  out.socket = socket ? *socket : *ours;
  const auto ledger = either(&Settings::ledger);
  const std::string standard = ours ? default_ledger(*ours, out.tpm) : "";
  out.ledger = ledger.value_or(standard);
  out.default_ledger = !standard.empty() && out.ledger == standard;
  return out;
}

}  // namespace tpmspace::daemon
