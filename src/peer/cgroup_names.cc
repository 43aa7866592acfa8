#include "peer/cgroup_names.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace tpmspace::peer {
namespace {

constexpr std::size_t kMaxUnitName = 255;
constexpr std::size_t kContainerId = 64;

// The cgroups of a path, one after the other; "" after the last.
class Components {
 public:
  explicit Components(std::string_view path) : rest_(path) { next(); }
  [[nodiscard]] std::string_view current() const { return current_; }
  void next() {
    if (rest_.starts_with('/')) rest_.remove_prefix(1);
    current_ = rest_.substr(0, rest_.find('/'));
    rest_.remove_prefix(current_.size());
  }

 private:
  std::string_view rest_;
  std::string_view current_;
};

bool is_hexadecimal(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool is_unit_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view(":-_.\\@").find(c) != std::string_view::npos;
}

std::optional<std::string> container_id(std::string_view text) {
  if (text.size() != kContainerId || !std::all_of(text.begin(), text.end(), is_hexadecimal)) return std::nullopt;
  return std::string(text);
}

// The text after the first matching prefix.
template <std::size_t n>
std::optional<std::string_view> behind(std::string_view text, const std::array<std::string_view, n>& prefixes) {
  for (const auto prefix : prefixes)
    if (text.starts_with(prefix)) return text.substr(prefix.size());
  return std::nullopt;
}

// A UUID with dashes or underscores (as in systemd's slices), or the 32 digits of a static pod.
std::optional<std::string> pod_uid(std::string_view text) {
  constexpr std::size_t kDigits = 32, kUuid = 36;
  if (text.size() != kDigits && text.size() != kUuid) return std::nullopt;
  std::string out(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const bool dash = out.size() == kUuid && (i == 8 || i == 13 || i == 18 || i == 23);
    if (dash && out[i] == '_') out[i] = '-';
    if (dash ? out[i] != '-' : !is_hexadecimal(out[i])) return std::nullopt;
  }
  return out;
}

// "kubepods-burstable-pod<uid>.slice", also below a slice of the kubelet's own.
std::optional<std::string> pod_of_slice(std::string_view slice) {
  constexpr std::array<std::string_view, 6> kPrefixes = {
      "kubepods-burstable-pod",         "kubepods-besteffort-pod",         "kubepods-pod",
      "kubelet-kubepods-burstable-pod", "kubelet-kubepods-besteffort-pod", "kubelet-kubepods-pod"};
  const auto uid = behind(slice.substr(0, slice.rfind('.')), kPrefixes);
  return uid ? pod_uid(*uid) : std::nullopt;
}

// The monitor of a container ("crio-conmon-<id>.scope") is not in the container.
std::optional<std::string> container_of_scope(std::string_view scope) {
  constexpr std::array<std::string_view, 5> kEngines = {"docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"};
  const auto id = behind(scope.substr(0, scope.rfind('.')), kEngines);
  return id ? container_id(*id) : std::nullopt;
}

bool is_unit(std::string_view name) {
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || name.size() > kMaxUnitName) return false;
  constexpr std::array<std::string_view, 5> kTypes = {"service", "scope", "socket", "mount", "swap"};
  return std::find(kTypes.begin(), kTypes.end(), name.substr(dot + 1)) != kTypes.end() &&
         std::all_of(name.begin(), name.end(), is_unit_byte);
}

// systemd puts a "_" before names that the kernel would take for its own files ("cpu.service").
std::string_view unescaped(std::string_view name) {
  return name.starts_with('_') ? name.substr(1) : name;
}

// Engines that name cgroups themselves.
void name_without_systemd(Components& path, CgroupNames& names) {
  const auto kind = path.current();
  path.next();
  if (kind == "docker") names.container = container_id(path.current());
  if (kind == "libpod_parent")
    if (const auto id = behind(path.current(), std::array<std::string_view, 1>{"libpod-"}))
      names.container = container_id(*id);
  if (kind != "kubepods") return;
  if (path.current() == "burstable" || path.current() == "besteffort") path.next();
  if (const auto uid = behind(path.current(), std::array<std::string_view, 1>{"pod"})) names.pod = pod_uid(*uid);
  if (!names.pod) return;
  path.next();
  const auto id = behind(path.current(), std::array<std::string_view, 2>{"crio-", ""});
  if (id) names.container = container_id(*id);
}

// --- In any container?

bool leads_out(std::string_view path) {
  return path == "/.." || path.starts_with("/../");
}

// The rest of `theirs` after the part shared with `ours`: containers above surround both processes.
std::string_view beyond(std::string_view theirs, std::string_view ours) {
  if (leads_out(theirs)) ours = "/";
  while (leads_out(theirs)) theirs.remove_prefix(std::string_view("/..").size());
  Components mine(ours), other(theirs);
  while (!other.current().empty() && other.current() == mine.current()) {
    theirs.remove_prefix(other.current().size() + 1);
    other.next();
    mine.next();
  }
  return theirs;
}

// "libpod-payload-<id>", "cri-containerd-<id>.scope", "<id>"; and the parent cgroups of engines and systemd-machined.
bool is_of_engine(std::string_view name) {
  constexpr std::array<std::string_view, 5> kAround = {"docker", "libpod_parent", "lxc", "buildkit", "machine.slice"};
  constexpr std::array<std::string_view, 3> kBegins = {"kubepods", "kubelet-kubepods", "lxc.payload"};
  if (std::find(kAround.begin(), kAround.end(), name) != kAround.end() || behind(name, kBegins)) return true;
  if (name.starts_with("machine-") && name.ends_with(".scope")) return true;
  // The monitor of a container is not in the container.
  if (name.find("-conmon-") != std::string_view::npos) return false;
  const auto stem = name.substr(0, name.rfind('.'));
  return container_id(stem.substr(std::min(stem.size(), stem.rfind('-') + 1))).has_value();
}

bool is_in_container(std::string_view path) {
  for (Components at(path); !at.current().empty(); at.next())
    if (is_of_engine(at.current())) return true;
  return false;
}

// The path in that hierarchy; null: not listed.
const std::string* path_in(const std::vector<CgroupPath>& all, std::string_view hierarchy) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const CgroupPath& one) { return one.hierarchy == hierarchy; });
  return found == all.end() ? nullptr : &found->path;
}

// The path in systemd's hierarchy; null: no hierarchy is systemd's.
const std::string* main_path(const std::vector<CgroupPath>& all) {
  const auto* unified = path_in(all, "");
  const auto* of_systemd = path_in(all, "name=systemd");
  const bool is_used = unified != nullptr && (*unified != "/" || of_systemd == nullptr);
  return is_used ? unified : of_systemd;
}

}  // namespace

CgroupNames names_in_cgroup(std::string_view path) {
  CgroupNames out;
  Components at(path);
  bool in_slice = false;
  for (; at.current().ends_with(".slice"); at.next()) {
    in_slice = true;
    if (!out.pod) out.pod = pod_of_slice(at.current());
  }
  if (const auto name = unescaped(at.current()); is_unit(name)) {
    out.unit = std::string(name);
    if (name.ends_with(".scope")) out.container = container_of_scope(name);
  } else if (!in_slice) {
    name_without_systemd(at, out);
  }
  return out;
}

CgroupFacts facts_of(const std::vector<CgroupPath>& theirs, const std::vector<CgroupPath>& ours) {
  using Text = guard::Known<std::string>;
  CgroupFacts out;
  const std::string* path = main_path(theirs);
  CgroupNames names = path != nullptr ? names_in_cgroup(*path) : CgroupNames{};
  bool is_hidden = false, is_contained = false;
  for (const CgroupPath& one : theirs) {
    const auto* same = path_in(ours, one.hierarchy);
    is_contained = is_contained || is_in_container(beyond(one.path, same != nullptr ? *same : "/"));
    is_hidden = is_hidden || leads_out(one.path);
    auto others = names_in_cgroup(leads_out(one.path) ? beyond(one.path, "/") : one.path);
    if (!names.container) names.container = std::move(others.container);
    if (!names.pod) names.pod = std::move(others.pod);
  }
  out.is_contained = guard::match_if(is_contained);
  if (names.container || !is_hidden) out.container = Text::of(std::move(names.container));
  if (names.pod || !is_hidden) out.pod = Text::of(std::move(names.pod));
  if (path != nullptr && leads_out(*path)) return out;
  out.cgroup = path != nullptr ? Text(*path) : Text::none();
  out.unit = Text::of(std::move(names.unit));
  return out;
}

CgroupFacts facts_of(const guard::Known<std::string>& path) {
  if (!path.is_known()) return {};
  std::vector<CgroupPath> all;
  if (path.value()) all.push_back({.path = *path.value()});
  return facts_of(all, {});
}

}  // namespace tpmspace::peer
