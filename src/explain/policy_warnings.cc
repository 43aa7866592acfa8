#include "explain/policy_warnings.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>
#include <variant>

#include "explain/listener_locality.h"
#include "guard/needs.h"
#include "guard/shipped.h"
#include "peer/proc_text.h"
#include "proto/socket_path.h"
#include "tpm/spec.h"

namespace tpmspace::explain {
namespace {

using wire::Numbers;

// PLATFORM_PERSISTENT (Part 2, 7.5; Part 3, 28.5).
constexpr std::uint32_t kFirstOfPlatform = 0x81800000;

const guard::Profile& profile_of(const config::PolicyFile& file, const std::string& name) {
  const auto own = file.profiles.find(name);
  return own != file.profiles.end() ? own->second.profile : *guard::shipped_profile(name);
}

bool exceeds_safe(const config::PolicyFile& file, const std::string& name) {
  return guard::exceeds_safe(profile_of(file, name));
}

// For a path that begins with "/".
std::string parent_of(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

class Warner {
 public:
  Warner(const config::PolicyFile& file, const Surroundings& around) : file_(file), around_(around) {}

  std::vector<Warning> all() {
    for (std::size_t i = 0; i < file_.rules.size(); ++i) look_at_rule(i);
    for (std::size_t i = 0; i < file_.namespaces.size(); ++i) look_at_namespace(i);
    for (const guard::Listener& listener : file_.listeners) look_at_listener(listener);
    look_for_administrators();
    look_for_idle_profiles();
    for (const auto& [name, own] : file_.profiles) look_at_profile(name, own);
    look_for_idle_chips();
    look_at_places(file_.main_chip);
    for (const config::ChipTable& chip : file_.chips) look_at_places(chip);
    std::stable_sort(out_.begin(), out_.end(), [](const Warning& a, const Warning& b) { return a.line < b.line; });
    return std::move(out_);
  }

 private:
  void warn(int line, std::string sentence) { out_.push_back({line, std::move(sentence)}); }

  // A rule before `end` that takes every client that `rule` would match; null: none.
  const guard::Rule* taken_by(const guard::Rule& rule, std::size_t end) const {
    const auto last = file_.rules.begin() + static_cast<std::ptrdiff_t>(end);
    const auto found = std::find_if(file_.rules.begin(), last, [&](const guard::Rule& earlier) {
      return !earlier.only_narrows() && earlier.covers(rule);
    });
    return found == last ? nullptr : &*found;
  }

  void look_at_rule(std::size_t i) {
    const guard::Rule& rule = file_.rules[i];
    look_at_patterns(rule, rule.line, "rule");
    if (const auto* earlier = taken_by(rule, i))
      warn(rule.line,
           fmt::format("this rule is unreachable: its clients match the rule on line {} first", earlier->line));
    if (!around_.may_trace && rule.names_program())
      warn(rule.line,
           "this rule names an executable or a kernel namespace; without CAP_SYS_PTRACE tpmspaced does not know this "
           "fact of other users' programs, so the rule may match each of these programs and narrows all of them, "
           "except root and tpmspaced's own user: docs/identity.md says what the unit needs");
    if (!rule.only_narrows() && profile_of(file_, rule.profile).localities.empty())
      warn(rule.line, fmt::format("all commands of clients that match this rule are refused: its profile \"{}\" lists "
                                  "no localities; programs use locality 0",
                                  rule.profile));
    guard::Rule everybody;
    everybody.uids = Numbers{{0, UINT32_MAX - 1}};
    if (rule.covers(everybody) && exceeds_safe(file_, rule.profile))
      warn(rule.line,
           fmt::format("this rule gives every client \"{}\", which allows more than \"safe\"", rule.profile));
    else if (!rule.only_narrows() && exceeds_safe(file_, rule.profile))
      look_at_gift(i);
  }

  // More than `safe`, by a rule that restricts little more than a client's kind or number.
  void look_at_gift(std::size_t i) {
    const guard::Rule& rule = file_.rules[i];
    if (const auto crowd = crowd_of(rule))
      warn(rule.line,
           fmt::format("this rule gives every {} \"{}\", which allows more than \"safe\"", *crowd, rule.profile));
    const bool says_where =
        rule.names_place() || rule.names_program() || rule.listener || rule.lsm_label || rule.tpm_namespace;
    const auto takes_containers = [](const guard::Rule& earlier) {
      guard::Rule all;
      all.container = earlier.container;
      return !earlier.only_narrows() && earlier.container && has_only(earlier.container->text(), "*") &&
             earlier.covers(all);
    };
    const auto here = file_.rules.begin() + static_cast<std::ptrdiff_t>(i);
    if (rule.uids && rule.uids->contains(0) && !says_where && std::none_of(file_.rules.begin(), here, takes_containers))
      warn(rule.line, fmt::format("this rule also gives \"{}\" to the root of every container that may connect; a rule "
                                  "before it with container = \"*\" gives containers another profile",
                                  rule.profile));
  }

  // "pod" of a rule about no matter which pod; nullopt: it says more. A user or group says nothing more of a pod or a
  // container: each one's root can become whichever it likes.
  static std::optional<std::string> crowd_of(const guard::Rule& rule) {
    const bool says_more =
        rule.listener || rule.lsm_label || rule.tpm_namespace || rule.user_namespace || rule.mount_namespace;
    if (says_more || !is_any(rule.container) || !is_any(rule.pod) || !is_any_unit(rule.unit)) return std::nullopt;
    if (is_any(rule.cgroup)) {
      if (rule.pod) return "pod";
      if (rule.container) return "container";
    }
    const auto root = rule.cgroup ? root_of_containers(rule.cgroup->text()) : std::nullopt;
    if (root) return fmt::format("container under {}", *root);
    if (rule.uids || rule.gids || !is_any(rule.cgroup)) return std::nullopt;
    if (rule.unit) return "unit";
    return rule.cgroup ? std::optional<std::string>("process in any cgroup") : std::nullopt;
  }
  static bool is_any(const std::optional<guard::Pattern>& pattern) {
    return !pattern || has_only(pattern->text(), "*?/-");
  }
  // Also "*.service".
  static bool is_any_unit(const std::optional<guard::Pattern>& pattern) {
    if (!pattern) return true;
    const std::string_view text = pattern->text();
    return text.find('*') != std::string_view::npos && has_only(text.substr(0, text.rfind('.')), "*?-.@");
  }
  // "/kubepods.slice" of "/kubepods.slice/**": the parent cgroup of a container manager's containers.
  static std::optional<std::string_view> root_of_containers(std::string_view pattern) {
    constexpr std::array<std::string_view, 6> kRoots = {"/kubepods.slice", "/kubepods", "/machine.slice",
                                                        "/docker",         "/lxc",      "/libpod_parent"};
    if (pattern == "/system.slice/docker-*.scope") return "/system.slice";
    const auto has_all_of = [&](std::string_view root) {
      if (!pattern.starts_with(root)) return false;
      const auto rest = pattern.substr(root.size());
      return rest.find('*') != std::string_view::npos && has_only(rest, "*?/");
    };
    const auto found = std::find_if(kRoots.begin(), kRoots.end(), has_all_of);
    return found == kRoots.end() ? std::nullopt : std::optional(*found);
  }

  // Names that nothing has.
  void look_at_patterns(const guard::Rule& conditions, int line, std::string_view what) {
    const auto never = [&](std::string_view key, const std::optional<guard::Pattern>& pattern, std::string_view form) {
      warn(line, fmt::format("this {} never matches: {} \"{}\" is not {}", what, key, pattern->text(), form));
    };
    if (conditions.container && !can_be_id(conditions.container->text()))
      never("container", conditions.container, "a container's id, which is 64 hexadecimal digits, or a pattern of one");
    if (conditions.pod && !can_be_pod(conditions.pod->text()))
      never("pod", conditions.pod, "a pod's uid, like 1f5b0a4e-1111-2222-3333-444455556666, or a pattern of one");
    if (conditions.unit && !can_be_unit(conditions.unit->text()))
      never("unit", conditions.unit, "a unit's whole name, like nginx.service, or a pattern of one");
    if (conditions.cgroup && conditions.cgroup->text().starts_with("/sys/fs/cgroup"))
      never("cgroup", conditions.cgroup, "a path from the root of the hierarchy, like /system.slice/nginx.service");
  }

  static bool has_only(std::string_view text, std::string_view characters) {
    return text.find_first_not_of(characters) == std::string_view::npos;
  }
  // Whether the pattern can match a text of `length`: a pattern without stars must have this length.
  static bool fits(std::string_view pattern, std::size_t length) {
    const auto stars = static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), '*'));
    return stars == 0 ? pattern.size() == length : pattern.size() - stars <= length;
  }
  static bool can_be_id(std::string_view pattern) {
    return has_only(pattern, "0123456789abcdef*?") && fits(pattern, 64);
  }
  static bool can_be_pod(std::string_view pattern) {
    return has_only(pattern, "0123456789abcdef-*?") && (fits(pattern, 36) || fits(pattern, 32));
  }
  static bool can_be_unit(std::string_view pattern) {
    constexpr std::array<std::string_view, 5> kTypes = {".service", ".scope", ".socket", ".mount", ".swap"};
    const auto open = pattern.find_last_of("*?");
    const auto is_end = [&](std::string_view type) { return pattern.ends_with(type); };
    return open != std::string_view::npos || std::any_of(kTypes.begin(), kTypes.end(), is_end);
  }

  void look_at_namespace(std::size_t i) {
    const guard::Namespace& one = file_.namespaces[i];
    const auto end = file_.namespaces.begin() + static_cast<std::ptrdiff_t>(i);
    const auto earlier = std::find_if(file_.namespaces.begin(), end,
                                      [&](const guard::Namespace& other) { return other.members.covers(one.members); });
    if (earlier != end)
      warn(one.line, fmt::format("this namespace is unreachable: its clients match the namespace on line {} first",
                                 earlier->line));
    look_at_patterns(one.members, one.line, "namespace");
    if (!around_.may_trace && one.members.user_namespace)
      warn(one.line,
           "this namespace names a user namespace; without CAP_SYS_PTRACE tpmspaced knows the user namespace only of "
           "programs in its own, so every program in another user namespace may be a member and gets the least: "
           "docs/identity.md says what the unit needs");
    if (one.members.names_place() && one.quotas != guard::Quotas{} && !std::exchange(said_of_doubt_, true))
      warn(one.line,
           "clients that ended before their cgroup could be read have together the quotas of this namespace once more; "
           "a namespace with \"listener\" has no such clients (this warning concerns each namespace by place; see "
           "docs/identity.md)");
    if (const auto crowd = crowd_of(one.members); crowd && one.profile && exceeds_safe(file_, *one.profile))
      warn(one.line,
           fmt::format("this namespace gives every {} \"{}\", which allows more than \"safe\"", *crowd, *one.profile));
    if (one.window && one.window->last >= kFirstOfPlatform)
      warn(one.line,
           "some of this namespace's persistent handles are the platform's: an owner's keys cannot be made persistent "
           "from 0x81800000 on");
    if (!one.profile) return;
    guard::Rule member = one.members;
    member.tpm_namespace = one.name;
    if (const auto* rule = taken_by(member, file_.rules.size()))
      warn(one.line,
           fmt::format("the profile of this namespace is unreachable: its members match the rule on line {} first",
                       rule->line));
  }

  void look_at_listener(const guard::Listener& listener) {
    if (!listener.default_path) look_at_directory(listener);
    if (!listener.profile) {
      const auto own_profile_of = [&](const std::string& name) -> const guard::Profile& {
        return profile_of(file_, name);
      };
      if (auto trouble = trouble_with_locality(listener, file_.rules, file_.namespaces, own_profile_of))
        warn(listener.line, *std::move(trouble));
      return;
    }
    look_at_shares(listener);
    guard::Rule rule;
    rule.listener = listener.name;
    if (const auto* earlier = taken_by(rule, file_.rules.size()))
      warn(listener.line, fmt::format("the profile of this listener is unreachable: its clients match the rule on line "
                                      "{} first",
                                      earlier->line));
    if ((listener.mode & S_IWOTH) != 0 && exceeds_safe(file_, *listener.profile))
      warn(listener.line,
           fmt::format("every user may open this listener, and gets \"{}\", which allows more than \"safe\"; "
                       "set \"owner\", \"group\" or \"mode\"",
                       *listener.profile));
    if (const auto locality = listener.locality.value_or(0);
        !profile_of(file_, *listener.profile).localities.contains(locality))
      warn(listener.line, fmt::format("all commands of clients of this listener are refused: the listener has locality "
                                      "{}, which its profile \"{}\" does not list",
                                      locality, *listener.profile));
  }

  // Of a listener whose path the file gives.
  void look_at_directory(const guard::Listener& listener) {
    const std::string directory = parent_of(listener.path);
    if (directory != parent_of(file_.socket) && !around_.is_directory(directory))
      warn(listener.line, fmt::format("the socket of this listener is {}, but the directory {} does not exist: "
                                      "tpmspaced does not start without the directory",
                                      listener.path, directory));
    const auto is_there = [&](const guard::Listener& other) {
      return &other != &listener && !other.default_path && parent_of(other.path) == directory;
    };
    const auto other = std::find_if(file_.listeners.begin(), file_.listeners.end(), is_there);
    const bool is_main = directory == parent_of(file_.socket);
    if (!is_main && other == file_.listeners.end()) return;
    warn(listener.line,
         fmt::format("the socket of {} is in the same directory, {}: a container with this directory mounted reaches "
                     "both sockets; leave \"path\" out, and tpmspaced makes a directory for this listener alone",
                     is_main ? "tpmspaced itself" : fmt::format("the listener on line {}", other->line), directory));
  }

  // At each listener with a profile, the same user is a different owner.
  void look_at_shares(const guard::Listener& listener) {
    const auto is_for_all = [](const guard::Listener& one) { return one.profile && (one.mode & S_IWOTH) != 0; };
    const auto earlier = std::find_if(file_.listeners.begin(), file_.listeners.end(), is_for_all);
    if (is_for_all(listener) && earlier->line != listener.line)
      warn(listener.line, fmt::format("every user may open this listener and the listener on line {}, so a user has a "
                                      "share of wrong authorizations at each; set \"owner\", \"group\" or \"mode\"",
                                      earlier->line));
  }

  // Root at tpmspaced's own socket, with no further known fact.
  void look_for_administrators() {
    guard::Rule root;
    root.uids = Numbers::one(0);
    root.listener = std::string(guard::kMainListener);
    const auto* rule = taken_by(root, file_.rules.size());
    if (rule != nullptr && !profile_of(file_, rule->profile).administer)
      warn(rule->line, fmt::format("root is not an administrator: on tpmspaced's own socket root gets \"{}\" from this "
                                   "rule; put a rule for administrators before it",
                                   rule->profile));
  }

  void look_for_idle_chips() {
    std::set<std::string> named;
    for (const guard::Listener& listener : file_.listeners) named.insert(listener.chip.value_or(""));
    for (const guard::Namespace& one : file_.namespaces) named.insert(one.chip.value_or(""));
    for (const guard::Rule& rule : file_.rules) named.insert(rule.chip.value_or(""));
    for (const config::ChipTable& chip : file_.chips)
      if (!named.contains(chip.name))
        warn(chip.line,
             fmt::format("no listener, namespace or rule names the chip \"{}\": only administrators can use it, "
                         "with --chip",
                         chip.name));
  }

  // Files that a TPM needs. tpmspaced makes the directories of default paths.
  void look_at_places(const config::ChipTable& chip) {
    const auto spec = tpm::parse_spec(chip.tpm);
    const auto* embedded = spec ? std::get_if<tpm::EmbeddedSpec>(&spec->backend) : nullptr;
    if (embedded != nullptr && !embedded->directory.empty())
      look_at_place(chip.tpm_place, fmt::format("the state of the chip \"{}\"", chip.name), embedded->directory);
    if (!chip.ledger.value_or("").empty())
      look_at_place(chip.ledger_place, fmt::format("the ledger of the chip \"{}\"", chip.name), *chip.ledger);
  }

  void look_at_place(config::Place where, const std::string& what, const std::string& path) {
    const int line = static_cast<int>(where.line);
    if (path[0] != '/')
      return warn(line, fmt::format("{} has the relative path \"{}\", which depends on the directory in which "
                                    "tpmspaced starts: begin the path with \"/\"",
                                    what, path));
    const std::string directory = parent_of(path);
    if (directory == parent_of(proto::kSystemSocket) || around_.is_directory(directory)) return;
    warn(line, fmt::format("{} is {}, but the directory {} does not exist: make the directory before tpmspaced starts",
                           what, path, directory));
  }

  void look_for_idle_profiles() {
    std::set<std::string> given;
    const auto add = [&](std::string name) {
      while (given.insert(name).second) {
        const auto own = file_.profiles.find(name);
        if (own == file_.profiles.end() || !own->second.base) break;
        name = *own->second.base;
      }
    };
    for (const auto& rule : file_.rules) add(rule.profile);
    for (const auto& one : file_.namespaces)
      if (one.profile) add(*one.profile);
    for (const auto& listener : file_.listeners)
      if (listener.profile) add(*listener.profile);
    for (const auto& [name, own] : file_.profiles)
      if (!given.contains(name))
        warn(own.line, fmt::format("no rule, namespace or listener gives the profile \"{}\"", name));
  }

  // --- Half permissions: a command without a handle for the command, a handle without a command.

  // "TPM2_NV_Write", "TPM2_NV_Write and 3 more".
  static std::string some_of(const std::vector<std::string_view>& commands) {
    const std::string first(commands.front());
    return commands.size() == 1 ? first : fmt::format("{} and {} more", first, commands.size() - 1);
  }

  // Fewer than half of the command's class are allowed, so the profile names this command explicitly.
  static bool is_named(const wire::CommandRow& row, const guard::Profile& profile) {
    std::size_t all = 0, allowed = 0;
    for (const auto& other : wire::CommandTable::builtin().rows()) {
      if (other.permission != row.permission) continue;
      ++all;
      if (profile.commands.contains(other.code)) ++allowed;
    }
    return 2 * allowed < all;
  }

  // Leaves out the sets of the base. A profile that is a base of others need not be complete.
  void look_at_profile(const std::string& name, const config::PolicyFile::Own& own) {
    const guard::Profile base = own.base ? profile_of(file_, *own.base) : guard::Profile();
    const bool is_base = std::any_of(file_.profiles.begin(), file_.profiles.end(),
                                     [&](const auto& other) { return other.second.base == name; });
    for (const guard::SetOfProfile& set : guard::kSets) {
      if (set.set == &guard::Profile::commands || set.set == &guard::Profile::localities) continue;
      const Numbers& numbers = own.profile.*set.set;
      if (numbers.empty())
        look_for_handles(name, own, own.profile.commands - base.commands, set);
      else if (!is_base && !(numbers - base.*set.set).empty())
        look_for_commands(name, own, own.profile.commands - base.commands, set);
    }
  }

  // The set is empty.
  void look_for_handles(const std::string& name, const config::PolicyFile::Own& own, const Numbers& added,
                        const guard::SetOfProfile& set) {
    std::vector<std::string_view> idle;
    for (const auto& row : wire::CommandTable::builtin().rows()) {
      if (!added.contains(row.code) || !guard::needs(row, set.set)) continue;
      const auto* main = guard::main_set_of(row.permission);
      if ((main != nullptr && main->set == set.set) || is_named(row, own.profile)) idle.push_back(row.name);
    }
    if (idle.empty()) return;
    const bool is_one = idle.size() == 1;
    warn(own.line, fmt::format("the profile \"{}\" allows {}, which {} refused all the same, because \"{}\" is empty: "
                               "list there the handles that {} may use",
                               name, some_of(idle), is_one ? "is" : "are", set.name, is_one ? "it" : "they"));
  }

  // The set has more in it than the base's.
  void look_for_commands(const std::string& name, const config::PolicyFile::Own& own, const Numbers& added,
                         const guard::SetOfProfile& set) {
    const auto rows = wire::CommandTable::builtin().rows();
    const auto needs_it = [&](const wire::CommandRow& row) { return guard::needs(row, set.set); };
    const bool is_needed = std::any_of(rows.begin(), rows.end(), needs_it);
    Numbers of_nobody = own.profile.commands;  // of vendors: with unknown uses
    std::vector<std::string_view> classes;
    for (const auto& row : rows) {
      of_nobody = of_nobody - Numbers::one(row.code);
      if (!guard::uses(row, set.set)) continue;
      // EventSequenceComplete of the base is no reason to list PCRs: the command can do without.
      if (own.profile.commands.contains(row.code) && (!is_needed || needs_it(row) || added.contains(row.code))) return;
      const auto* main = guard::main_set_of(row.permission);
      const auto name_of_class = wire::name_of(row.permission);
      const bool is_for_it = !is_needed || (main != nullptr && main->set == set.set);
      if (is_for_it && std::find(classes.begin(), classes.end(), name_of_class) == classes.end())
        classes.push_back(name_of_class);
    }
    if (!of_nobody.empty()) return;
    const bool is_one = classes.size() == 1;
    warn(own.line, fmt::format("the profile \"{}\" lists handles under \"{}\", but allows no command that uses the "
                               "set: add {} to \"allow\"",
                               name, set.name,
                               is_one            ? fmt::format("\"{}\"", classes.front())
                               : classes.empty() ? "a command that uses the set"
                                                 : fmt::format("one of \"{}\"", fmt::join(classes, "\", \""))));
  }

  const config::PolicyFile& file_;
  const Surroundings& around_;
  std::vector<Warning> out_;
  bool said_of_doubt_ = false;  // one warning suffices for a file
};

}  // namespace

std::vector<Warning> warnings_of(const config::PolicyFile& file, const Surroundings& around) {
  return Warner(file, around).all();
}

Surroundings this_machine() {
  std::ifstream file("/proc/self/status");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto capabilities = peer::parse_capabilities(text);
  return {.may_trace = capabilities && (*capabilities >> CAP_SYS_PTRACE & 1) != 0,
          .is_directory = [](const std::string& path) {
            std::error_code error;
            return std::filesystem::is_directory(path, error);
          }};
}

}  // namespace tpmspace::explain
