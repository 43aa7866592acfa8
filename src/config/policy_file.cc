#include "config/policy_file.h"

#include <algorithm>

#include "base/limits.h"
#include "books/view.h"
#include "config/condition_values.h"
#include "config/listener_paths.h"
#include "config/namespace_table.h"
#include "config/profile_tables.h"
#include "guard/shipped.h"
#include "proto/listener_messages.h"
#include "proto/socket_path.h"

namespace tpmspace::config {
namespace {

struct RuleDraft {
  const Accounts* accounts = nullptr;
  guard::Rule rule;
  std::optional<std::string> profile;
};
struct ListenerDraft {
  const Accounts* accounts = nullptr;
  guard::Listener listener;
  std::optional<mode_t> mode;
};

using RuleKey = Key<RuleDraft>;
constexpr std::array kRuleKeys{
    RuleKey{"user",
            [](const TomlNode& n, RuleDraft& d) { return take_some(n, kUsers, d.rule.uids, d.accounts->user); }},
    RuleKey{"group",
            [](const TomlNode& n, RuleDraft& d) { return take_some(n, kGroups, d.rule.gids, d.accounts->group); }},
    RuleKey{"executable", [](const TomlNode& n, RuleDraft& d) { return take_path_pattern(n, d.rule.executable); }},
    RuleKey{"cgroup", [](const TomlNode& n, RuleDraft& d) { return take_path_pattern(n, d.rule.cgroup); }},
    RuleKey{"unit", [](const TomlNode& n, RuleDraft& d) { return take_name_pattern(n, d.rule.unit); }},
    RuleKey{"container", [](const TomlNode& n, RuleDraft& d) { return take_name_pattern(n, d.rule.container); }},
    RuleKey{"pod", [](const TomlNode& n, RuleDraft& d) { return take_name_pattern(n, d.rule.pod); }},
    RuleKey{"user_namespace", [](const TomlNode& n, RuleDraft& d) { return take_inode(n, d.rule.user_namespace); }},
    RuleKey{"mount_namespace", [](const TomlNode& n, RuleDraft& d) { return take_inode(n, d.rule.mount_namespace); }},
    RuleKey{"label",
            [](const TomlNode& n, RuleDraft& d) { return take_optional_text(n, d.rule.lsm_label, guard::kMaxLabel); }},
    RuleKey{"listener", [](const TomlNode& n,
                           RuleDraft& d) { return take_optional_text(n, d.rule.listener, proto::kMaxSocketPath); }},
    RuleKey{"namespace", [](const TomlNode& n,
                            RuleDraft& d) { return take_optional_text(n, d.rule.tpm_namespace, limits::kMaxName); }},
    RuleKey{"chip",
            [](const TomlNode& n, RuleDraft& d) { return take_optional_text(n, d.rule.chip, limits::kMaxName); }},
    RuleKey{"profile",
            [](const TomlNode& n, RuleDraft& d) { return take_optional_text(n, d.profile, limits::kMaxName); }},
    RuleKey{"disable", [](const TomlNode& n, RuleDraft& d) { return take_commands(n, d.rule.disabled); }},
};

Fault take_listener_name(const TomlNode& node, std::string& out) {
  if (node.is(TomlNode::Kind::kText) && guard::is_reserved_listener(node.text))
    return Wrong(
        fmt::format("is \"{}\", the name of a listener that tpmspaced makes itself; choose another name", node.text));
  return take_name(node, out);
}

Fault take_socket_path(const TomlNode& node, std::string& out) {
  if (auto wrong = take_text(node, out, proto::kMaxSocketPath)) return wrong;
  return out[0] == '/' ? std::nullopt : Fault("must be an absolute path: begin it with \"/\"");
}

// One user or group.
template <typename Id>
Fault take_account(const TomlNode& node, const NumberKind& kind, const Accounts::Look& named, std::optional<Id>& out) {
  if (node.is(TomlNode::Kind::kNumber)) {
    Numbers one;
    if (auto wrong = take_numbers(node, kind, one)) return wrong;
    out = static_cast<Id>(node.number);
    return std::nullopt;
  }
  if (!node.is(TomlNode::Kind::kText) || node.text.find('\0') != std::string::npos) return "must be one name or number";
  const auto written = number_in(node.text);
  const auto number = written ? written : named(node.text);
  if (!number || *number == UINT32_MAX)
    return Wrong(fmt::format("is \"{}\", which is no {} that this machine knows", node.text, kind.singular));
  out = *number;
  return std::nullopt;
}

Fault take_locality(const TomlNode& node, std::optional<std::uint8_t>& out) {
  Numbers numbers;
  if (!node.is(TomlNode::Kind::kNumber)) return "must be a locality: 0-4, 32-255";
  if (auto wrong = take_numbers(node, kLocalities, numbers)) return wrong;
  out = static_cast<std::uint8_t>(node.number);
  return std::nullopt;
}

using ListenerKey = Key<ListenerDraft>;
constexpr std::array kListenerKeys{
    ListenerKey{"name", [](const TomlNode& n, ListenerDraft& d) { return take_listener_name(n, d.listener.name); }},
    ListenerKey{"path", [](const TomlNode& n, ListenerDraft& d) { return take_socket_path(n, d.listener.path); }},
    ListenerKey{"mode",
                [](const TomlNode& n, ListenerDraft& d) {
                  return take_into(d.mode, [&](mode_t& mode) { return take_mode(n, mode); });
                }},
    ListenerKey{"owner", [](const TomlNode& n,
                            ListenerDraft& d) { return take_account(n, kUsers, d.accounts->user, d.listener.owner); }},
    ListenerKey{"group",
                [](const TomlNode& n, ListenerDraft& d) {
                  return take_account(n, kGroups, d.accounts->group, d.listener.group);
                }},
    ListenerKey{"profile",
                [](const TomlNode& n, ListenerDraft& d) {
                  return take_optional_text(n, d.listener.profile, limits::kMaxName);
                }},
    ListenerKey{"locality", [](const TomlNode& n, ListenerDraft& d) { return take_locality(n, d.listener.locality); }},
    ListenerKey{"connections",
                [](const TomlNode& n, ListenerDraft& d) { return take_number(n, d.listener.connections, 0U); }},
    ListenerKey{"chip", [](const TomlNode& n,
                           ListenerDraft& d) { return take_optional_text(n, d.listener.chip, limits::kMaxName); }},
    ListenerKey{"separate_users",
                [](const TomlNode& n, ListenerDraft& d) { return take_flag(n, d.listener.separate_users); }},
};

class PolicyReader {
 public:
  PolicyReader(const Accounts& accounts, PolicyFile& out, Faults& faults)
      : accounts_(accounts), out_(out), faults_(faults) {}

  void read(const TomlNode& root) {
    read_profiles(root, out_, faults_);
    out_.chips = read_chips(root, faults_);
    const auto listeners = tables_of(root, "listener", limits::kListeners, faults_);
    for (const TomlNode* table : listeners) listener_names_.push_back(written_name(*table));
    for (const TomlNode* table : listeners) read_listener(*table);
    const auto namespaces = tables_of(root, "namespace", limits::kNamespaces, faults_);
    for (const TomlNode* table : namespaces)
      if (const TomlNode* name = table->find("name")) namespace_names_.push_back(name->text);
    for (const TomlNode* table : namespaces) read_namespace(*table);
    for (const TomlNode* table : tables_of(root, "rule", limits::kRules, faults_)) read_rule(*table);
  }

 private:
  // Faulty listeners included: a rule that names a faulty listener is right.
  static std::string written_name(const TomlNode& table) {
    const TomlNode* name = table.find("name");
    if (name == nullptr) name = table.find("path");
    return name == nullptr ? "" : name->text;
  }

  void read_listener(const TomlNode& table) {
    ListenerDraft draft{.accounts = &accounts_, .listener = {}, .mode = {}};
    read_table(table, kListenerKeys, draft, "listener.", faults_);
    guard::Listener& listener = draft.listener;
    const TomlNode* written = table.find("path");
    listener.default_path = written == nullptr;
    if (listener.default_path && table.find("name") == nullptr)
      return faults_.add(table.place, "this listener has neither \"name\" nor \"path\": give it a name");
    if (listener.default_path && !is_directory_name(listener.name)) {
      if (!listener.name.empty())
        faults_.add(table.find("name")->place,
                    "\"listener.name\" cannot be the name of a directory; choose another name");
      return;
    }
    if (!listener.default_path && listener.path.empty()) return;
    const Place path = listener.default_path ? table.place : written->place;
    if (listener.name.empty()) listener.name = listener.path;
    listener.line = static_cast<int>(table.place.line);
    listener.mode = draft.mode.value_or(proto::usual_mode(listener.owner.has_value(), listener.group.has_value()));
    if (listener.profile) check_profile("listener.profile", *listener.profile, *table.find("profile"));
    if (listener.chip) check_chip("listener.chip", *listener.chip, *table.find("chip"));
    if (listener.separate_users && !listener.profile)
      faults_.add(table.find("separate_users")->place,
                  "\"listener.separate_users\" is for a listener with a \"profile\": without a profile each user is "
                  "the same owner as on tpmspaced's own socket");
    for (const guard::Listener& other : out_.listeners)
      if (!listener.path.empty() && same_place(other.path, listener.path))
        faults_.add(path, fmt::format("the listener on line {} has the same path: each listener needs its own path",
                                      other.line));
      else if (other.name == listener.name)
        faults_.add(
            table.place,
            fmt::format("the listener on line {} has the same name: each listener needs its own name", other.line));
    out_.listeners.push_back(std::move(listener));
  }

  void read_namespace(const TomlNode& table) {
    auto read = config::read_namespace(table, accounts_, faults_);
    if (!read) return;
    if (read->profile) check_profile("namespace.profile", *read->profile, *table.find("profile"));
    if (read->chip) check_chip("namespace.chip", *read->chip, *table.find("chip"));
    if (read->members.listener)
      check_listener("namespace.listener", *read->members.listener, table.find("listener")->place);
    for (const guard::Namespace& other : out_.namespaces)
      if (other.name == read->name)
        faults_.add(
            table.find("name")->place,
            fmt::format("the namespace on line {} has the same name: each namespace needs its own name", other.line));
      else if (overlap(other, *read))
        faults_.add(table.find("persistent_base")->place,
                    fmt::format("the namespace on line {} has some of these persistent handles: each window has {:#x}",
                                other.line, space::View::kWindow));
    out_.namespaces.push_back(*std::move(read));
  }

  static bool overlap(const guard::Namespace& a, const guard::Namespace& b) {
    return a.window && b.window && a.window->first <= b.window->last && b.window->first <= a.window->last;
  }

  void read_rule(const TomlNode& table) {
    RuleDraft draft{.accounts = &accounts_, .rule = {}, .profile = {}};
    read_table(table, kRuleKeys, draft, "rule.", faults_);
    guard::Rule& rule = draft.rule;
    rule.line = static_cast<int>(table.place.line);
    if (table.find("profile") == nullptr)
      return faults_.add(table.place, "this rule has no \"profile\": name the profile that it gives");
    if (!draft.profile) return;
    check_profile("rule.profile", *draft.profile, *table.find("profile"));
    if (rule.chip) check_chip("rule.chip", *rule.chip, *table.find("chip"));
    if (rule.listener) check_listener("rule.listener", *rule.listener, table.find("listener")->place);
    if (rule.tpm_namespace) check_namespace(*rule.tpm_namespace, table.find("namespace")->place);
    rule.profile = std::move(*draft.profile);
    out_.rules.push_back(std::move(rule));
  }

  void check_profile(std::string_view key, const std::string& name, const TomlNode& node) {
    if (out_.profiles.contains(name) || guard::shipped_profile(name) != nullptr) return;
    std::vector<std::string> known;
    for (const auto* shipped : guard::shipped_profiles()) known.push_back(shipped->name);
    for (const auto& [own, profile] : out_.profiles) known.push_back(own);
    faults_.add(node.place,
                fmt::format("\"{}\" is \"{}\", and there is no such profile; there are: {}", key, name, joined(known)));
  }

  void check_chip(std::string_view key, const std::string& name, const TomlNode& node) {
    std::vector<std::string> known = {std::string(guard::kMainChip)};
    for (const ChipTable& chip : out_.chips) known.push_back(chip.name);
    if (std::find(known.begin(), known.end(), name) != known.end()) return;
    faults_.add(node.place,
                fmt::format("\"{}\" is \"{}\", and there is no such chip; there are: {}", key, name, joined(known)));
  }

  void check_namespace(const std::string& name, Place place) {
    if (std::find(namespace_names_.begin(), namespace_names_.end(), name) != namespace_names_.end()) return;
    faults_.add(place, fmt::format("\"rule.namespace\" is \"{}\", and there is no such namespace; there are: {}", name,
                                   namespace_names_.empty() ? "none" : joined(namespace_names_)));
  }

  void check_listener(std::string_view key, const std::string& name, Place place) {
    std::vector<std::string> known = {std::string(guard::kMainListener), std::string(guard::kAdminListener)};
    known.insert(known.end(), listener_names_.begin(), listener_names_.end());
    if (std::find(known.begin(), known.end(), name) != known.end()) return;
    faults_.add(
        place, fmt::format("\"{}\" is \"{}\", and there is no such listener; there are: {}", key, name, joined(known)));
  }

  const Accounts& accounts_;
  PolicyFile& out_;
  Faults& faults_;
  std::vector<std::string> listener_names_, namespace_names_;
};

}  // namespace

PolicyFile read_policy(const TomlNode& root, const guard::SessionTerms& terms, const guard::Limits& limits,
                       const Accounts& accounts, Faults& faults) {
  PolicyFile out;
  out.terms = terms;
  out.limits = limits;
  PolicyReader(accounts, out, faults).read(root);
  return out;
}

std::vector<std::string> known_policy_keys() {
  std::vector<std::string> out = known_profile_keys();
  for (const auto& key : kRuleKeys) out.push_back(fmt::format("rule.{}", key.name));
  for (const auto& key : kListenerKeys) out.push_back(fmt::format("listener.{}", key.name));
  const auto namespaces = known_namespace_keys();
  const auto chips = known_chip_keys();
  out.insert(out.end(), namespaces.begin(), namespaces.end());
  out.insert(out.end(), chips.begin(), chips.end());
  return out;
}

namespace {

// With the default paths.
tl::expected<std::vector<guard::Listener>, std::string> listeners_of(const PolicyFile& file, std::string_view socket) {
  std::vector<guard::Listener> out = file.listeners;
  for (auto listener = out.begin(); listener != out.end(); ++listener) {
    if (listener->default_path) listener->path = default_listener_path(socket, listener->name);
    if (listener->path.size() > proto::kMaxSocketPath)
      return tl::unexpected(
          fmt::format("the listener on line {} of the configuration would be at {}, and a socket's path has at most {} "
                      "bytes: give it a shorter \"name\", or a \"path\"",
                      listener->line, listener->path, proto::kMaxSocketPath));
    if (same_place(listener->path, socket))
      return tl::unexpected(
          fmt::format("the listener on line {} of the configuration has the path of tpmspaced's own socket, {}: give "
                      "it another \"path\"",
                      listener->line, socket));
    const auto other = std::find_if(out.begin(), listener,
                                    [&](const guard::Listener& one) { return same_place(one.path, listener->path); });
    if (other != listener)
      return tl::unexpected(
          fmt::format("the listeners on lines {} and {} of the configuration have the same path, {}: each listener "
                      "needs its own path",
                      other->line, listener->line, listener->path));
  }
  return out;
}

}  // namespace

tl::expected<guard::Access, std::string> access_of(const PolicyFile& file, uid_t own_uid, std::string_view socket) {
  guard::Policy::Profiles profiles;
  for (const auto& [name, own] : file.profiles) profiles.emplace(name, own.profile);
  auto listeners = listeners_of(file, socket);
  if (!listeners) return tl::unexpected(listeners.error());
  std::vector<guard::Rule> rules = file.rules;
  rules.push_back(guard::Policy::standard_rule(own_uid));
  auto policy = guard::Policy::make(std::move(profiles), std::move(rules), file.terms, file.limits, file.namespaces);
  if (!policy) return tl::unexpected(policy.error());
  guard::Access out{.policy = *std::move(policy), .listeners = *std::move(listeners)};
  for (const ChipTable& chip : file.chips) out.chips.push_back({.name = chip.name, .tpm = chip.tpm});
  return out;
}

}  // namespace tpmspace::config
