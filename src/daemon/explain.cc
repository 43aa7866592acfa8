#include "daemon/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/peer_identity.h"
#include "daemon/principal.h"
#include "daemon/sample_command.h"
#include "wire/rc.h"

namespace tpmspace::daemon {
namespace {

template <typename T>
using Result = tl::expected<T, std::string>;

// What AS says, before it is looked at whole.
struct Draft {
  PeerIdentity peer;
  bool uid = false, gid = false;
  std::optional<std::string> door, chip;
  std::optional<std::uint32_t> locality;
};

std::optional<std::uint32_t> account(const std::string& text, const Accounts::Look& named) {
  const auto number = number_in(text);
  return number ? number : named(text);
}

// The first gid is the primary one.
bool take_gid(std::optional<std::uint32_t> gid, Draft& out) {
  if (!gid) return false;
  if (std::exchange(out.gid, true)) {
    if (!out.peer.groups) out.peer.groups.emplace();
    out.peer.groups->push_back(*gid);
  } else {
    out.peer.gid = *gid;
  }
  return true;
}

bool take_uid(std::optional<std::uint32_t> uid, Draft& out) {
  if (!uid) return false;
  out.peer.uid = *uid;
  out.uid = true;
  return true;
}

bool take(std::string_view name, const std::string& value, const Accounts& accounts, Draft& out) {
  if (value.empty()) return false;
  if (name == "uid") return take_uid(account(value, accounts.user), out);
  if (name == "gid") return take_gid(account(value, accounts.group), out);
  if (name == "exe") return (out.peer.executable = value)->front() == '/';
  if (name == "cgroup") return (out.peer.cgroup = value)->front() == '/';
  if (name == "label") return (out.peer.label = value).has_value();
  if (name == "user_namespace") return (out.peer.user_namespace = number_in(value)).has_value();
  if (name == "mount_namespace") return (out.peer.mount_namespace = number_in(value)).has_value();
  if (name == "door") return (out.door = value).has_value();
  if (name == "chip") return (out.chip = value).has_value();
  if (name == "locality") return (out.locality = number_in(value)).has_value() && *out.locality <= UINT8_MAX;
  return false;
}

Result<Draft> draft_from(std::string_view as, const Accounts& accounts) {
  Draft out;
  while (!as.empty()) {
    const std::string_view word = as.substr(0, as.find(','));
    as.remove_prefix(std::min(word.size() + 1, as.size()));
    const auto equals = std::min(word.find('='), word.size());
    const std::string value(word.substr(std::min(equals + 1, word.size())));
    if (!take(word.substr(0, equals), value, accounts, out))
      return tl::unexpected(
          fmt::format("\"{}\" says nothing of anybody: write uid=33, gid=33 (again for more groups), "
                      "cgroup=/a, exe=/a, label=a, user_namespace=1, mount_namespace=1, door=main, "
                      "chip=main or locality=0, with commas between them",
                      word));
  }
  if (!out.uid) return tl::unexpected(std::string("whoever connects has a uid: write uid=33"));
  return out;
}

std::string line_of(const guard::Rule& rule, const std::string& file) {
  if (rule.line == 0)
    return fmt::format("the standard one, of root and tpmspaced's own user (taken to be {})",
                       rule.uids->ranges().back().last);
  return fmt::format("{}:{}", file, rule.line);
}

}  // namespace

Result<Visitor> visitor_from(std::string_view as, const Access& access, const Accounts& accounts) {
  auto draft = draft_from(as, accounts);
  if (!draft) return tl::unexpected(draft.error());
  Visitor out;
  out.principal = principal_of(draft->peer);
  if (!draft->gid) out.principal.gids.reset();
  out.door = draft->door.value_or(out.door);
  const Door* door = access.door(out.door);
  if (door == nullptr && out.door != kMainDoor) return tl::unexpected(fmt::format("there is no door \"{}\"", out.door));
  const std::optional<std::uint8_t> fixed = door == nullptr ? std::nullopt : door->locality;
  if (fixed && draft->locality.value_or(*fixed) != *fixed)
    return tl::unexpected(
        fmt::format("whoever comes by the door \"{}\" has locality {}, and keeps it", out.door, *fixed));
  out.locality = fixed.value_or(static_cast<std::uint8_t>(draft->locality.value_or(0)));
  const auto* home = access.policy.namespace_of(out.principal, out.door);
  if (home != nullptr) out.principal.tpm_namespace = home->name;
  out.principal.chip = draft->chip.value_or(chip_of(door == nullptr ? Entrance{} : entrance_of(*door), home));
  if (std::none_of(access.chips.begin(), access.chips.end(),
                   [&](const Chip& one) { return one.name == *out.principal.chip; }))
    return tl::unexpected(
        fmt::format("there is no chip \"{}\"; there are: {}", *out.principal.chip, names_of(access.chips)));
  return out;
}

Result<Explanation> explain(const Access& access, const Visitor& visitor, std::span<const std::string> words) {
  wire::CommandTable table = wire::CommandTable::builtin();
  auto sample = sample_command(words, table);
  if (!sample) return tl::unexpected(sample.error());
  Explanation out;
  out.choice = access.choose(visitor.principal, visitor.door);
  out.by_door = visitor.door;
  if (visitor.principal.tpm_namespace) out.home = access.policy.namespace_named(*visitor.principal.tpm_namespace);
  out.verdict = guard::judge(out.choice.profile, sample->command, visitor.locality);
  if (out.verdict.reason == guard::Reason::kUnreadable && !sample->wanted.empty())
    return tl::unexpected(fmt::format("the profile \"{}\" judges what the parameters of {} name: say {}",
                                      out.choice.profile.name, sample->text, sample->wanted));
  out.pins = guard::tried_indices(sample->command) - out.choice.profile.nv_pin;
  out.command = std::move(sample->text);
  return out;
}

std::string text_of(const Explanation& explanation, const Access& access, const std::string& file) {
  const auto& [command, choice, verdict, by_door, home, pins] = explanation;
  std::string out = fmt::format("{}: {}\n", command, verdict.allowed() ? "allowed" : "refused");
  if (!verdict.allowed())
    out += fmt::format("  code     {}\n  reason   {}\n", wire::describe(wire::from_manager(verdict.rc)),
                       guard::sentence(verdict.reason));
  if (verdict.allowed() && !pins.empty())
    out += fmt::format("  unless   {:#010x} is a PIN Fail index: the profile does not list it under nv.pin\n",
                       pins.ranges().front().first);
  if (home != nullptr) out += fmt::format("  member   of the namespace \"{}\", {}:{}\n", home->name, file, home->line);
  out += fmt::format("  profile  {}\n", choice.profile.name);
  for (const auto place : choice.rules) {
    const guard::Rule& rule = access.policy.rules()[place];
    out += fmt::format("  rule     {}: {} \"{}\"\n", line_of(rule, file), rule.only_narrows() ? "narrows to" : "gives",
                       rule.profile);
  }
  if (choice.by_namespace && home != nullptr)
    out += fmt::format("  rule     {}:{}, the profile of the namespace: gives \"{}\"\n", file, home->line,
                       home->profile.value_or(""));
  const Door* door = choice.by_door ? access.door(by_door) : nullptr;
  if (door != nullptr)
    out += fmt::format("  rule     {}:{}, the profile of the door \"{}\": gives \"{}\"\n", file, door->line, door->name,
                       door->profile.value_or(""));
  if (choice.by_default) out += "  rule     none that gives a profile: \"safe\"\n";
  return out;
}

}  // namespace tpmspace::daemon
