#include "config/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/fd.h"
#include "config/listener_paths.h"
#include "config/table_reader.h"
#include "config/toml_tree.h"
#include "proto/socket_path.h"
#include "tpm/spec.h"

namespace tpmspace::config {
namespace {

Fault take_level(const TomlNode& node, std::optional<log::LogLevel>& out) {
  if (node.is(TomlNode::Kind::kText)) out = log::log_level_from(node.text);
  return out ? Fault() : Fault("must be \"error\", \"warning\", \"notice\", \"info\" or \"debug\"");
}

Fault take_some_text(const TomlNode& node, std::optional<std::string>& out) {
  return take_into(out, [&](std::string& text) { return take_text(node, text); });
}

Fault take_admin_socket(const TomlNode& node, std::optional<std::string>& out) {
  const bool is_path = node.is(TomlNode::Kind::kText) && (node.text.empty() || node.text[0] == '/') &&
                       node.text.size() <= proto::kMaxSocketPath && node.text.find('\0') == std::string::npos;
  if (!is_path)
    return Wrong(fmt::format("must be an absolute path of at most {} bytes, or \"\" for none", proto::kMaxSocketPath));
  out = node.text;
  return std::nullopt;
}

Fault take_audit(const TomlNode& node, std::optional<std::string>& out) {
  if (!node.is(TomlNode::Kind::kText) || (!node.text.empty() && node.text != "journal" && node.text[0] != '/'))
    return "must be \"journal\", an absolute path, or \"\" for lines of the log";
  out = node.text;
  return std::nullopt;
}

// The version of the keys' meanings. A later tpmspaced that changes the meaning of a key will increase the version.
Fault check_version(const TomlNode& node) {
  std::uint32_t version = 0;
  if (take_number(node, version, 1U) || version != kConfigVersion)
    return fmt::format("must be {}: this tpmspaced knows no other version", kConfigVersion);
  return std::nullopt;
}

using TopKey = Key<Settings>;
constexpr std::array kTopKeys{
    TopKey{"version", [](const TomlNode& n, Settings&) { return check_version(n); }},
    TopKey{"tpm", [](const TomlNode& n, Settings& s) { return take_some_text(n, s.tpm); }},
    TopKey{"socket", [](const TomlNode& n, Settings& s) { return take_some_text(n, s.socket); }},
    TopKey{"socket_mode",
           [](const TomlNode& n, Settings& s) {
             return take_into(s.socket_mode, [&](mode_t& mode) { return take_mode(n, mode); });
           }},
    TopKey{"admin_socket", [](const TomlNode& n, Settings& s) { return take_admin_socket(n, s.admin_socket); }},
    TopKey{"ledger", [](const TomlNode& n, Settings& s) { return take_ledger(n, s.ledger); }},
    TopKey{"audit", [](const TomlNode& n, Settings& s) { return take_audit(n, s.audit); }},
    TopKey{"log_level", [](const TomlNode& n, Settings& s) { return take_level(n, s.log_level); }},
};
using LimitKey = Key<Limits>;
constexpr std::array kLimitKeys{
    LimitKey{"connections", [](const TomlNode& n, Limits& l) { return take_number(n, l.connections, 0U); }},
    LimitKey{"connections_per_owner",
             [](const TomlNode& n, Limits& l) { return take_number(n, l.connections_per_owner, 1U); }},
    LimitKey{"objects", [](const TomlNode& n, Limits& l) { return take_number(n, l.objects, 1U); }},
    LimitKey{"sessions", [](const TomlNode& n, Limits& l) { return take_number(n, l.sessions, 1U); }},
    LimitKey{"bytes", [](const TomlNode& n, Limits& l) { return take_number(n, l.bytes, limits::kLeastBytes); }},
    LimitKey{"client_saved_sessions",
             [](const TomlNode& n, Limits& l) { return take_number(n, l.client_saved_sessions, 0U); }},
    LimitKey{"queue", [](const TomlNode& n, Limits& l) { return take_number(n, l.queue, 1U); }},
};

using IdleKey = Key<Idle>;
constexpr std::array kIdleKeys{
    IdleKey{"put_away", [](const TomlNode& n, Idle& i) { return take_duration(n, i.put_away); }},
    IdleKey{"save_objects", [](const TomlNode& n, Idle& i) { return take_duration(n, i.save_objects); }},
    IdleKey{"save_sessions", [](const TomlNode& n, Idle& i) { return take_duration(n, i.save_sessions); }},
};

// A value that is valid TOML but no possible TPM or socket is a fault of the file, even if the command line overrides
// the value: the fault would appear on the day the option is left out.
void check_meaning(const TomlNode& root, const Settings& settings, Faults& faults) {
  if (settings.tpm)
    if (const auto spec = tpm::parse_spec(*settings.tpm); !spec)
      faults.add(root.find("tpm")->place, fmt::format("\"tpm\": {}", spec.error()));
  if (settings.socket && settings.socket->size() > proto::kMaxSocketPath)
    faults.add(root.find("socket")->place,
               fmt::format("\"socket\" is too long: it has {} bytes, at most {} are possible", settings.socket->size(),
                           proto::kMaxSocketPath));
}

// The limits of spaces whose profile sets none.
guard::Limits limits_of_profiles(const Limits& limits) {
  guard::Limits out;
  out.objects = limits.objects;
  out.sessions = limits.sessions;
  out.bytes = limits.bytes;
  return out;
}

tl::expected<std::string, std::string> read_file(const std::string& path) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
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
        fmt::format("the configuration {} is longer than {} bytes, the limit", path, limits::kMaxConfigFile));
  text.resize(used);
  return text;
}

tl::expected<std::string, std::string> default_socket(const Environment& environment) {
  if (environment.is_system) return proto::kSystemSocket;
  if (environment.xdg_runtime_dir && !environment.xdg_runtime_dir->empty())
    return *environment.xdg_runtime_dir + proto::kUserSocket;
  return tl::unexpected(std::string(
      "the socket has no default path, because XDG_RUNTIME_DIR is not set; name a path with --socket PATH"));
}

tl::expected<std::string, std::string> default_tpm(const Environment& environment) {
  if (environment.exists(kDefaultDevice)) return fmt::format("device:{}", kDefaultDevice);
  return tl::unexpected(
      fmt::format("there is no {}, so there is no TPM to serve; name a TPM with --tpm SPEC, for example --tpm "
                  "embedded, which needs no hardware",
                  kDefaultDevice));
}

// Beside the default socket, under the device's name. A descriptor handed over by another program has no name.
std::string default_ledger(const std::string& default_socket, std::string_view tpm) {
  constexpr std::string_view kDevice = "device:/";
  if (!tpm.starts_with(kDevice)) return "";
  const std::string_view device = tpm.substr(0, tpm.find(','));
  // The kernel's resource manager flushes our sessions by itself.
  if (device.find("/tpmrm") != std::string_view::npos) return "";
  return default_socket.substr(0, default_socket.rfind('/') + 1) + "sessions-" +
         std::string(device.substr(device.rfind('/') + 1));
}

// Equal for every spelling of the path, and for both devices of the kernel.
tpm::Spec plain(tpm::Spec spec) {
  const auto normal = [](std::string& path) { path = std::filesystem::path(path).lexically_normal().string(); };
  if (auto* swtpm = std::get_if<tpm::SwtpmUnixSpec>(&spec.backend)) {
    normal(swtpm->path);
    swtpm->control.clear();
  }
  if (auto* device = std::get_if<tpm::DeviceSpec>(&spec.backend)) {
    constexpr std::string_view kManaged = "/dev/tpmrm";
    normal(device->path);
    if (device->path.starts_with(kManaged)) device->path = "/dev/tpm" + device->path.substr(kManaged.size());
  }
  return spec;
}

// Why two TPMs cannot be served together: a process can have one embedded TPM, a TPM one tpmspaced, a ledger one TPM.
struct Clash {
  std::string sentence;
  bool of_ledgers = false;
};
std::optional<Clash> clash_between(const guard::Chip& chip, const guard::Chip& other) {
  const auto a = tpm::parse_spec(chip.tpm), b = tpm::parse_spec(other.tpm);
  if (!a || !b) return std::nullopt;
  if (a->kind() == tpm::Kind::kEmbedded && b->kind() == tpm::Kind::kEmbedded)
    return Clash{fmt::format(
        "is embedded, and so is \"{}\": one tpmspaced can have one embedded TPM; use swtpm for the other chip",
        other.name)};
  if (plain(*a).backend == plain(*b).backend)
    return Clash{fmt::format("is the same TPM as \"{}\", {}: name another TPM", other.name, other.tpm)};
  if (!chip.ledger.empty() && chip.ledger == other.ledger)
    return Clash{
        fmt::format("has the ledger of \"{}\", {}: give the chip its own with \"ledger\"", other.name, other.ledger),
        true};
  return std::nullopt;
}

// With the place of the later table's TPM or ledger.
std::optional<std::string> clash_of(const std::vector<guard::Chip>& chips, const Settings& file) {
  for (std::size_t i = 1; i < chips.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (const auto clash = clash_between(chips[i], chips[j])) {
        const ChipTable& table = file.policy.chips[i - 1];
        return at(file.name, clash->of_ledgers && table.ledger ? table.ledger_place : table.tpm_place,
                  fmt::format("the chip \"{}\" {}", chips[i].name, clash->sentence));
      }
  return std::nullopt;
}

// The file's settings of the main TPM, which has no table.
ChipTable main_chip_of(const TomlNode& root, const Settings& settings) {
  ChipTable out{.name = std::string(guard::kMainChip), .tpm = settings.tpm.value_or(""), .ledger = settings.ledger};
  if (const TomlNode* tpm = root.find("tpm")) out.tpm_place = tpm->place;
  if (const TomlNode* ledger = root.find("ledger")) out.ledger_place = ledger->place;
  return out;
}

}  // namespace

namespace {

// Whether the list, with colons between directories, contains the system socket's directory.
bool has_system_directory(std::string_view list) {
  const std::string_view socket = proto::kSystemSocket;
  const std::string_view wanted = socket.substr(0, socket.rfind('/'));
  while (!list.empty()) {
    const std::string_view one = list.substr(0, list.find(':'));
    if (one == wanted) return true;
    list.remove_prefix(std::min(one.size() + 1, list.size()));
  }
  return false;
}

// The listener for administrators; nullopt: none.
std::optional<guard::Listener> admin_listener(const std::optional<std::string>& written, std::string_view main,
                                              bool is_default) {
  const std::string path = written.value_or(is_default ? proto::kSystemAdminSocket : "");
  if (path.empty()) return std::nullopt;
  guard::Listener out;
  out.name = guard::kAdminListener;
  out.path = path;
  out.mode = 0600;
  out.default_path = path == default_listener_path(main, guard::kAdminListener);
  out.dispensable = out.default_path;
  return out;
}

std::optional<std::string> admin_clash(const guard::Listener& admin, std::string_view main,
                                       const std::vector<guard::Listener>& others) {
  if (same_place(admin.path, main))
    return fmt::format("\"admin_socket\" is tpmspaced's own socket, {}: give it another path, or \"\" for none", main);
  const auto other = std::find_if(others.begin(), others.end(),
                                  [&](const guard::Listener& one) { return same_place(one.path, admin.path); });
  if (other == others.end()) return std::nullopt;
  return fmt::format(
      "the listener on line {} of the configuration has the path of the listener for administrators, {}: give it "
      "another \"path\", or change \"admin_socket\"",
      other->line, admin.path);
}

}  // namespace

Environment process_environment() {
  Environment out;
  out.uid = ::geteuid();
  // systemd.exec(5), RuntimeDirectory=: the unit runs as a separate user, and has no XDG_RUNTIME_DIR.
  const char* service = std::getenv("RUNTIME_DIRECTORY");
  out.is_system = out.uid == 0 || (service != nullptr && has_system_directory(service));
  if (const char* dir = std::getenv("XDG_RUNTIME_DIR")) out.xdg_runtime_dir = dir;
  out.exists = [](std::string_view path) { return ::access(std::string(path).c_str(), F_OK) == 0; };
  return out;
}

std::vector<std::string> known_keys() {
  std::vector<std::string> out;
  out.reserve(kTopKeys.size() + kLimitKeys.size() + kIdleKeys.size());
  for (const auto& key : kTopKeys) out.emplace_back(key.name);
  for (const auto& key : kLimitKeys) out.push_back(fmt::format("limits.{}", key.name));
  for (const auto& key : kIdleKeys) out.push_back(fmt::format("idle.{}", key.name));
  const auto terms = known_term_keys();
  out.insert(out.end(), terms.begin(), terms.end());
  return out;
}

// --- Changes that a reload does not make.

namespace {

std::string text_of_duration(std::uint64_t nanoseconds) {
  constexpr std::uint64_t kMillisecond = 1'000'000;
  if (nanoseconds == space::SessionTerms::kEndless) return "endless";
  return fmt::format("{}ms", nanoseconds / kMillisecond);
}

struct StartKey {
  std::string_view key;
  std::string (*value)(const Config& config);
};
constexpr std::array kStartKeys{
    StartKey{"tpm", [](const Config& c) { return c.access.chips.front().tpm; }},
    StartKey{"socket", [](const Config& c) { return c.socket; }},
    StartKey{"socket_mode", [](const Config& c) { return fmt::format("{:04o}", c.socket_mode); }},
    StartKey{"ledger", [](const Config& c) { return c.access.chips.front().ledger; }},
    StartKey{"audit", [](const Config& c) { return c.audit; }},
    StartKey{"log_level", [](const Config& c) { return std::string(log::name_of(c.log_level)); }},
    StartKey{"limits.connections", [](const Config& c) { return fmt::format("{}", c.limits.connections); }},
    StartKey{"limits.connections_per_owner",
             [](const Config& c) { return fmt::format("{}", c.limits.connections_per_owner); }},
    StartKey{"limits.objects", [](const Config& c) { return fmt::format("{}", c.limits.objects); }},
    StartKey{"limits.sessions", [](const Config& c) { return fmt::format("{}", c.limits.sessions); }},
    StartKey{"limits.bytes", [](const Config& c) { return fmt::format("{}", c.limits.bytes); }},
    StartKey{"limits.client_saved_sessions",
             [](const Config& c) { return fmt::format("{}", c.limits.client_saved_sessions); }},
    StartKey{"limits.queue", [](const Config& c) { return fmt::format("{}", c.limits.queue); }},
    StartKey{"idle.put_away", [](const Config& c) { return text_of_duration(c.idle.put_away); }},
    StartKey{"idle.save_objects", [](const Config& c) { return text_of_duration(c.idle.save_objects); }},
    StartKey{"idle.save_sessions", [](const Config& c) { return text_of_duration(c.idle.save_sessions); }},
};

// The chips of `chips` that `than` lacks or has with other values. The main chip has its own keys.
void add_other_chips(const std::vector<guard::Chip>& chips, const std::vector<guard::Chip>& than,
                     std::vector<PendingKey>& out) {
  for (std::size_t i = 1; i < chips.size(); ++i) {
    const PendingKey key{fmt::format("[[chip]] \"{}\"", chips[i].name), "", ""};
    const bool is_same = std::find(than.begin(), than.end(), chips[i]) != than.end();
    if (!is_same && std::find(out.begin(), out.end(), key) == out.end()) out.push_back(key);
  }
}

std::string shown(const std::string& value) {
  return value.empty() ? "\"\"" : value;
}

}  // namespace

std::vector<PendingKey> pending_keys(const Config& running, const Config& read) {
  std::vector<PendingKey> out;
  for (const auto& [key, value] : kStartKeys)
    if (value(running) != value(read)) out.push_back({std::string(key), shown(value(running)), shown(value(read))});
  add_other_chips(running.access.chips, read.access.chips, out);
  add_other_chips(read.access.chips, running.access.chips, out);
  return out;
}

std::string text_of(const std::vector<PendingKey>& keys) {
  std::string out;
  for (const auto& [key, in_force, in_file] : keys) {
    out += (out.empty() ? "" : ", ") + key;
    if (!in_force.empty()) out += fmt::format(" ({} is in force, the file says {})", in_force, in_file);
  }
  return out;
}

tl::expected<Settings, std::string> parse_settings(std::string_view text, const std::string& name,
                                                   const Accounts& accounts, const Limits* in_force) {
  const auto root = parse_toml(text, name);
  if (!root) return tl::unexpected(root.error());
  Settings settings;
  settings.name = name;
  Faults faults(name);
  read_table(
      *root, kTopKeys, settings, "", faults,
      {{"limits"}, {"idle"}, {"profile"}, {"rule", true}, {"namespace", true}, {"listener", true}, {"chip", true}});
  check_meaning(*root, settings, faults);
  if (const auto* limits = subtable(*root, "limits", "limits", faults))
    read_table(*limits, kLimitKeys, settings.limits, "limits.", faults);
  if (const auto* idle = subtable(*root, "idle", "idle", faults))
    read_table(*idle, kIdleKeys, settings.idle, "idle.", faults);
  const auto terms = read_default_terms(*root, faults);
  settings.limits.terms = terms;
  settings.policy = read_policy(*root, terms, limits_of_profiles(in_force != nullptr ? *in_force : settings.limits),
                                accounts, faults);
  settings.policy.socket = settings.socket.value_or(proto::kSystemSocket);
  settings.policy.main_chip = main_chip_of(*root, settings);
  if (auto wrong = faults.first()) return tl::unexpected(std::move(*wrong));
  return settings;
}

tl::expected<Settings, std::string> read_settings(const std::optional<std::string>& explicit_path,
                                                  const Limits* in_force) {
  const std::string path = explicit_path.value_or(std::string(kConfigFile));
  if (!explicit_path && ::access(path.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) return Settings{};
  return read_file(path).and_then(
      [&](const std::string& text) { return parse_settings(text, path, system_accounts(), in_force); });
}

tl::expected<Config, std::string> settle(const Settings& command_line, const Settings& file,
                                         const Environment& environment) {
  const auto either = [&](auto member) { return command_line.*member ? command_line.*member : file.*member; };
  Config out;
  out.socket_mode = either(&Settings::socket_mode).value_or(out.socket_mode);
  out.log_level = either(&Settings::log_level).value_or(out.log_level);
  out.limits = file.limits;
  out.idle = file.idle;
  out.audit = either(&Settings::audit).value_or("");

  auto tpm = either(&Settings::tpm);
  auto chosen_tpm = tpm ? tl::expected<std::string, std::string>(*tpm) : default_tpm(environment);
  if (!chosen_tpm) return tl::unexpected(chosen_tpm.error());

  // If the socket has no path, the paths of other listeners follow the key `socket`.
  const auto& inherited = environment.inherited_socket;
  const bool has_path = inherited && !inherited->empty();
  const auto socket = has_path ? inherited : either(&Settings::socket);
  const auto ours = default_socket(environment);
  if (!socket && !ours) return tl::unexpected(ours.error());
  out.default_socket = ours && socket.value_or(*ours) == *ours;
  out.socket = socket ? *socket : *ours;
  std::vector<guard::Chip> chips;
  const auto add_chip = [&](const std::string& name, const std::string& spec,
                            const std::optional<std::string>& ledger) {
    const std::string standard = ours ? default_ledger(*ours, spec) : "";
    const std::string chosen = ledger.value_or(standard);
    chips.push_back({name, spec, chosen, !standard.empty() && chosen == standard});
  };
  add_chip(std::string(guard::kMainChip), *chosen_tpm, either(&Settings::ledger));
  for (const ChipTable& chip : file.policy.chips) add_chip(chip.name, chip.tpm, chip.ledger);
  if (auto clash = clash_of(chips, file)) return tl::unexpected(*std::move(clash));

  auto access = access_of(file.policy, environment.uid, out.socket);
  if (!access) return tl::unexpected(access.error());
  out.access = *std::move(access);
  const bool is_system_socket = inherited.value_or(out.socket) == proto::kSystemSocket;
  if (auto admin = admin_listener(file.admin_socket, out.socket, is_system_socket)) {
    if (auto clash = admin_clash(*admin, out.socket, out.access.listeners)) return tl::unexpected(*std::move(clash));
    out.access.listeners.push_back(*std::move(admin));
  }
  out.access.chips = std::move(chips);
  return out;
}

}  // namespace tpmspace::config
