#include "tool/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "client/connection.h"
#include "proto/json.h"
#include "tool/exit_code.h"
#include "tool/time_limits.h"
#include "wire/command_table.h"

namespace tpmspace::tool {
namespace {

using proto::CommandUse;
using proto::FieldKind;
using proto::StatusField;

// Text from the TPM goes to a terminal, so control characters are replaced.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
  return text;
}

struct TextValue {
  StatusField field;
  std::string operator()(const std::string& text) const { return text.empty() ? "-" : printable(text); }
  std::string operator()(bool flag) const { return flag ? "yes" : "no"; }
  std::string operator()(std::uint64_t number) const {
    if (field.kind == FieldKind::kNanoseconds) return duration_text(number);
    if (field.group == "limits" && number == 0) return "unlimited";  // 0 means no limit, as in the configuration
    if (field.kind == FieldKind::kCommand) return number == 0 ? "none" : command_name(number);
    return std::to_string(number);
  }
  std::string operator()(const std::vector<CommandUse>& uses) const { return std::to_string(uses.size()); }
};

std::string json_use(const CommandUse& use) {
  return fmt::format(R"({{"command": {}, "code": {}, "count": {}, "time_ns": {}}})",
                     proto::json_string(command_name(use.code)), use.code, use.count, use.nanoseconds);
}

struct JsonValue {
  StatusField field;
  std::string operator()(const std::string& text) const { return proto::json_string(text); }
  std::string operator()(bool flag) const { return flag ? "true" : "false"; }
  std::string operator()(std::uint64_t number) const {
    if (field.kind != FieldKind::kCommand) return std::to_string(number);
    return number == 0 ? "null" : proto::json_string(command_name(number));
  }
  std::string operator()(const std::vector<CommandUse>& uses) const {
    std::string out = "[";
    for (const CommandUse& use : uses) out += (out.size() > 1 ? ", " : "") + json_use(use);
    return out + "]";
  }
};

// The fields of one group as "name value" pairs, in the order of the list.
struct Group {
  std::string name;
  std::vector<std::pair<StatusField, std::string>> values;
};

template <typename Value>
std::vector<Group> groups_of(const proto::Status& status) {
  std::vector<Group> groups;
  proto::for_each_field(status, [&](const StatusField& field, const auto& member) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == field.group; });
    if (group == groups.end()) group = groups.insert(groups.end(), Group{std::string(field.group), {}});
    group->values.emplace_back(field, Value{field}(member));
  });
  return groups;
}

std::string spoken(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '_', ' ');
  return out;
}

// The fields for a client without administrator rights (docs/status.md, `server.own_only`); the other counts are zero
// on the wire, and this program does not know them.
bool is_told_everybody(const StatusField& field) {
  constexpr std::array<std::string_view, 3> kGroups = {"server", "chip", "limits"};
  constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kOwn = {{{"connections", "now"},
                                                                                  {"queue", "now"},
                                                                                  {"spaces", "sessions"},
                                                                                  {"sessions", "waiting"},
                                                                                  {"sessions", "parked"}}};
  if (field.group == "tpm") return field.name != "resets";
  const auto is_it = [&](const auto& own) { return own.first == field.group && own.second == field.name; };
  return std::find(kGroups.begin(), kGroups.end(), field.group) != kGroups.end() ||
         std::any_of(kOwn.begin(), kOwn.end(), is_it);
}

std::string uses_text(std::vector<CommandUse> uses) {
  if (uses.empty()) return "";
  std::sort(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  std::string out = fmt::format("\n{:<34}{:>12}{:>14}{:>14}\n", "TPM command", "count", "time", "each");
  for (const CommandUse& use : uses) {
    out += fmt::format("{:<34}{:>12}{:>14}{:>14}\n", command_name(use.code), use.count, duration_text(use.nanoseconds),
                       duration_text(use.count == 0 ? 0 : use.nanoseconds / use.count));
  }
  return out;
}

}  // namespace

std::string duration_text(std::uint64_t nanoseconds) {
  const auto value = static_cast<double>(nanoseconds);
  if (nanoseconds < 1'000) return fmt::format("{} ns", nanoseconds);
  if (nanoseconds < 1'000'000) return fmt::format("{:.2f} us", value / 1e3);
  if (nanoseconds < 1'000'000'000) return fmt::format("{:.2f} ms", value / 1e6);
  return fmt::format("{:.2f} s", value / 1e9);
}

std::string command_name(std::uint64_t code) {
  const auto* row = wire::CommandTable::builtin().find(static_cast<wire::CommandCode>(code));
  return row != nullptr ? std::string(row->name) : fmt::format("0x{:08x}", code);
}

std::string status_text(const proto::Status& status) {
  std::string out;
  for (const Group& group : groups_of<TextValue>(status)) {
    std::string line;
    for (const auto& [field, value] : group.values) {
      if (field.kind == FieldKind::kCommandUses) continue;
      const bool is_known = !status.server_own_only || is_told_everybody(field);
      line += fmt::format("{}{} {}", line.empty() ? "" : ", ", spoken(field.name), is_known ? value : "-");
    }
    out += fmt::format("{:<18}{}\n", spoken(group.name), line);
  }
  if (status.server_own_only) out += "\nThe counts are your own; only administrators see the values shown as \"-\".\n";
  return out + uses_text(status.tpm_commands_by_code);
}

std::string status_json(const proto::Status& status) {
  std::string out = "{";
  for (const Group& group : groups_of<JsonValue>(status)) {
    std::string members;
    for (const auto& [field, value] : group.values) {
      const std::string name = std::string(field.name) + (field.kind == FieldKind::kNanoseconds ? "_ns" : "");
      members += fmt::format("{}{}: {}", members.empty() ? "" : ", ", proto::json_string(name), value);
    }
    out += fmt::format("{}\n  {}: {{{}}}", out.size() > 1 ? "," : "", proto::json_string(group.name), members);
  }
  return out + "\n}\n";
}

int show_status(const ManagerPlace& manager, bool json) {
  auto connection = connect_to_administer(manager);
  if (!connection) {
    print_error(connection.error().what);
    return kExitFailure;
  }
  const auto status = connection->status(kAnswerMs);
  if (!status) {
    print_error(status.error().what);
    return kExitFailure;
  }
  return print(json ? status_json(*status) : status_text(*status)) ? kExitOk : kExitFailure;
}

}  // namespace tpmspace::tool
