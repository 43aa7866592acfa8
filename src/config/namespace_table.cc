#include "config/namespace_table.h"

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "books/view.h"
#include "config/condition_values.h"
#include "config/profile_tables.h"
#include "proto/socket_path.h"
#include "wire/handle.h"

namespace tpmspace::config {
namespace {

struct NamespaceDraft {
  const Accounts* accounts = nullptr;
  guard::Namespace made;
};

// The text of a TOML string or number.
std::optional<std::uint32_t> handle_in(const TomlNode& node) {
  if (node.is(TomlNode::Kind::kText)) return number_in(node.text);
  if (!node.is(TomlNode::Kind::kNumber) || node.number < 0 || node.number > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(node.number);
}

Fault take_window(const TomlNode& node, std::optional<Numbers::Range>& out) {
  const auto base = handle_in(node);
  if (!base) return "must be the first persistent handle of the namespace, like \"0x81200000\"";
  if (!wire::is_persistent(*base) || !space::View{.persistent_base = *base}.is_possible())
    return Wrong(
        fmt::format("is {:#010x}, where no window can begin: it has {:#x} handles, all of them from 0x81000000 to "
                    "0x81ffffff",
                    *base, space::View::kWindow));
  out = {*base, *base + (space::View::kWindow - 1)};
  return std::nullopt;
}

using NamespaceKey = Key<NamespaceDraft>;
constexpr std::array kNamespaceKeys{
    NamespaceKey{"name", [](const TomlNode& n, NamespaceDraft& d) { return take_name(n, d.made.name); }},
    NamespaceKey{"user", [](const TomlNode& n,
                            NamespaceDraft& d) { return take_some(n, kUsers, d.made.members.uids, d.accounts->user); }},
    NamespaceKey{"cgroup",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_path_pattern(n, d.made.members.cgroup); }},
    NamespaceKey{"unit",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_name_pattern(n, d.made.members.unit); }},
    NamespaceKey{"container",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_name_pattern(n, d.made.members.container); }},
    NamespaceKey{"pod", [](const TomlNode& n, NamespaceDraft& d) { return take_name_pattern(n, d.made.members.pod); }},
    NamespaceKey{"user_namespace",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_inode(n, d.made.members.user_namespace); }},
    NamespaceKey{"listener",
                 [](const TomlNode& n, NamespaceDraft& d) {
                   return take_optional_text(n, d.made.members.listener, proto::kMaxSocketPath);
                 }},
    NamespaceKey{"profile", [](const TomlNode& n,
                               NamespaceDraft& d) { return take_optional_text(n, d.made.profile, limits::kMaxName); }},
    NamespaceKey{"connections",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_number(n, d.made.quotas.connections, 1U); }},
    NamespaceKey{"sessions",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_number(n, d.made.quotas.sessions, 1U); }},
    NamespaceKey{"objects",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_number(n, d.made.quotas.objects, 1U); }},
    NamespaceKey{"bytes", [](const TomlNode& n,
                             NamespaceDraft& d) { return take_number(n, d.made.quotas.bytes, limits::kLeastBytes); }},
    NamespaceKey{"separate_users",
                 [](const TomlNode& n, NamespaceDraft& d) { return take_flag(n, d.made.separate_users); }},
    NamespaceKey{"nv",
                 [](const TomlNode& n, NamespaceDraft& d) {
                   return take_into(d.made.nv, [&](Numbers& indices) { return take_numbers(n, kNvIndices, indices); });
                 }},
    NamespaceKey{"chip", [](const TomlNode& n,
                            NamespaceDraft& d) { return take_optional_text(n, d.made.chip, limits::kMaxName); }},
    NamespaceKey{"persistent_base", [](const TomlNode& n, NamespaceDraft& d) { return take_window(n, d.made.window); }},
};
// The keys that define the members. No executable: any client can imitate another executable (guard/rules.h).
constexpr std::array<std::string_view, 7> kConditions = {"user", "cgroup",         "unit",    "container",
                                                         "pod",  "user_namespace", "listener"};

}  // namespace

std::optional<guard::Namespace> read_namespace(const TomlNode& table, const Accounts& accounts, Faults& faults) {
  NamespaceDraft draft{.accounts = &accounts, .made = {}};
  read_table(table, kNamespaceKeys, draft, "namespace.", faults);
  draft.made.line = static_cast<int>(table.place.line);
  const bool says_who = std::any_of(kConditions.begin(), kConditions.end(),
                                    [&](std::string_view key) { return table.find(key) != nullptr; });
  if (table.find("name") == nullptr)
    faults.add(table.place, "this namespace has no \"name\": rules and records need the name");
  else if (!says_who)
    faults.add(table.place, fmt::format("this namespace has no membership condition: it needs one of {}",
                                        joined(std::vector<std::string>(kConditions.begin(), kConditions.end()))));
  if (draft.made.name.empty()) return std::nullopt;
  return std::move(draft.made);
}

std::vector<std::string> known_namespace_keys() {
  std::vector<std::string> out;
  out.reserve(kNamespaceKeys.size());
  for (const auto& key : kNamespaceKeys) out.push_back(fmt::format("namespace.{}", key.name));
  return out;
}

}  // namespace tpmspace::config
