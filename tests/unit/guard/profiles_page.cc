#include "profiles_page.h"

#include <fmt/format.h>

#include "guard/needs.h"
#include "guard/shipped.h"
#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

constexpr std::string_view kBegin = R"(# Profiles

A profile is a named set of permissions and limits. tpmspace ships the profiles below. The [policy](policy.md) gives each
client a profile.

| Profile | For |
|---|---|
| `safe` | the default of all users: their own keys, sealing, policy sessions, quotes, random numbers, public reads |
| `storage` | clients that store keys and data: as `safe` without attestation, and writing NV indices by their own authorization |
| `attest` | clients that attest the machine: as `safe`, with the persistent keys of the endorsement range, anonymous signatures and the audit of commands |
| `provision` | setup programs: as `safe`, with making, using and removing NV indices and persistent objects, and changing the authorizations of the owner and endorsement hierarchies |
| `admin` | administrators: all commands, vendor commands and commands newer than the table included |

`safe` allows no command that changes what other users see, spends a shared resource, or uses an object of another user.
`provision` has no lockout, no platform and no PCR.

Every list is an allow-list: an unlisted command or handle is refused.

If a profile does not list TPM2_Startup, TPM2_Shutdown and TPM2_SelfTest(NO), tpmspaced itself answers these commands:
[Startup and exit](startup.md).

## The form of a refusal

A refusal is one of the TPM's own codes with tpmspace's layer (11: `0x000B…`), before the TPM sees the command. `n` is the
number of the handle or parameter.

| Code | When |
|---|---|
| `0x143` COMMAND_CODE | the profile does not list the command: as if the chip lacked it |
| `0x120` DISABLED | the profile lists the command, and a rule disables the command |
| `0x907` LOCALITY | the locality is not listed |
| `0x085` HIERARCHY, `n` | the hierarchy is not listed; TPM_RH_LOCKOUT in any place, as the bind entity of a session included |
| `0x08B` HANDLE, `n` | the persistent object is not listed for the command's use |
| `0x149` NV_AUTHORIZATION | the NV index is not listed for the use, or not by the authorization of owner or platform; or the command could spend a try of a PIN Fail index without `nv.pin` |
| `0x127` PCR | a PCR is not listed for the use |
| `0x092` SCHEME, `n` | an ECDAA signature needs TPM2_Commit: the signature spends a commitment, and all clients share the counter of commitments |
| `0x082` ATTRIBUTES, session `n` | a session encrypts the parameter that must be judged |

If a parameter must be judged and cannot be read, the command is refused with the TPM's code for the parameter.

## Parameters that the guard judges

The guard judges PCR selections of PCR_Read, Quote, PolicyPCR, Create and CreatePrimary (`pcr.read`: wherever values or their
digest are returned); the hierarchy in LoadExternal, Hash, SequenceComplete and HierarchyControl; the handle in
EvictControl; the index in NV_DefineSpace; the scheme of a signature. FlushContext and ContextLoad can name only objects and
sessions of the client's own space.

## Classes of commands

`allow` and `deny` of a [profile](policy-profiles.md) take these names. A class with a set needs both: `allow`, and
the set of handles for the commands. (`nv.define` decides on NV_ChangeAuth, which is in `nv-write`.) A long list of commands
continues in the next row.

)";

constexpr std::string_view kCommandsBegin = R"(
## Commands
)";

struct ClassText {
  std::string_view name, purpose;
};
// In the order of wire::PermissionClass.
constexpr ClassText kClasses[] = {
    {"read-public", "read what is no secret: capabilities, public areas, the clock, test results"},
    {"random", "random numbers, and hashing without a key"},
    {"pcr-read", "read PCRs"},
    {"pcr-extend", "measure into PCRs"},
    {"pcr-reset", "set PCRs back"},
    {"sessions", "sessions and policies"},
    {"context", "save, load and flush one's own keys and sessions"},
    {"create-keys", "make keys and sealed data"},
    {"load-keys", "load keys and sealed data"},
    {"use-keys", "sign, decrypt, unseal, HMAC, ECDH"},
    {"attest", "quotes and certificates by a key"},
    {"credential", "make and activate credentials"},
    {"migrate", "take keys to another TPM or parent"},
    {"shared-counter", "anonymous signatures, which spend a counter that all users share"},
    {"nv-read", "read NV indices"},
    {"nv-write", "write NV indices"},
    {"nv-lock", "lock NV indices"},
    {"nv-define", "make and remove NV indices"},
    {"evict", "make keys persistent, and end that"},
    {"hierarchy", "clear the TPM; authorizations, policies and seeds of hierarchies"},
    {"lockout", "set back and configure the protection against wrong passwords"},
    {"platform", "what a firmware configures: banks of PCRs, the clock, physical presence"},
    {"audit", "which commands the TPM itself audits"},
    {"power", "start, shut down and test the TPM"},
    {"firmware", "replace the TPM's firmware"},
    {"vendor", "commands of the manufacturer, and those newer than tpmspace"},
};

// The names of the class's commands, in cells that tests/links.py permits.
std::vector<std::string> cells_of_commands(std::string_view class_name) {
  constexpr std::size_t kLongestCell = 200;
  std::vector<std::string> cells;
  for (const auto& command : wire::CommandTable::builtin().rows()) {
    if (wire::name_of(command.permission) != class_name) continue;
    const auto name = command.name.substr(std::string_view("TPM2_").size());
    if (cells.empty() || cells.back().size() + 2 + name.size() > kLongestCell) cells.emplace_back();
    cells.back() += fmt::format("{}{}", cells.back().empty() ? "" : ", ", name);
  }
  if (cells.empty()) cells.emplace_back("all others");
  return cells;
}

// The set that decides on the class's commands, or "".
std::string deciding_set(std::string_view class_name) {
  for (const auto& command : wire::CommandTable::builtin().rows())
    if (wire::name_of(command.permission) == class_name)
      if (const SetOfProfile* set = main_set_of(command.permission)) return fmt::format("`{}`", set->name);
  return "";
}

std::string classes() {
  std::string out = "| Class | For | Set | Commands |\n|---|---|---|---|\n";
  for (const ClassText& one : kClasses) {
    const auto cells = cells_of_commands(one.name);
    out += fmt::format("| `{}` | {} | {} | {} |\n", one.name, one.purpose, deciding_set(one.name), cells.front());
    for (auto more = cells.begin() + 1; more != cells.end(); ++more) out += fmt::format("| | | | {} |\n", *more);
  }
  return out;
}

constexpr std::string_view kSetsBegin = R"(
## Sets of handles

A handle outside of these sets is refused, except handles of the client's own space (transient objects, sequences, sessions).

- `persistent.parent` also lists the keys that a session may be bound to: binding and Create both prove that the client knows
  the key's authorization.
- `persistent.use` covers all uses of a persistent key, computing with the public part included, except as a parent, as the
  salt or bind key of a session, or by ReadPublic.
- `nv.by-owner` lists the indices that may be read, written and locked by the authorization of the owner or platform
  hierarchy instead of the index's own. The owner's authorization is usually empty.
- `nv.pin` lists the PIN Fail indices whose own authorization may be tried ([Lockout](lockout.md)). The other sets decide on
  all other uses of these indices.

)";

constexpr std::string_view kLimitsBegin = R"(
## Limits

)";

std::string header() {
  std::string first = "| |", second = "|---|";
  for (const Profile* profile : shipped_profiles()) {
    first += fmt::format(" `{}` |", profile->name);
    second += "---|";
  }
  return first + "\n" + second + "\n";
}

template <typename Cell>
std::string row(std::string_view name, const Cell& cell) {
  std::string out = fmt::format("| {} |", name);
  for (const Profile* profile : shipped_profiles()) out += fmt::format(" {} |", cell(*profile));
  return out + "\n";
}

std::string number(std::string_view set, std::uint32_t n) {
  if (!set.starts_with("hierarchies"))
    return set.starts_with("persistent") || set.starts_with("nv") ? fmt::format("`{:#010x}`", n) : fmt::format("{}", n);
  switch (n) {
    case static_cast<std::uint32_t>(wire::Hierarchy::kOwner):
      return "owner";
    case static_cast<std::uint32_t>(wire::Hierarchy::kNull):
      return "null";
    case static_cast<std::uint32_t>(wire::Hierarchy::kEndorsement):
      return "endorsement";
    default:
      return fmt::format("`{:#x}`", n);
  }
}

std::string cell_of(std::string_view set, const Numbers& numbers) {
  if (numbers.empty()) return "none";
  if (numbers == Numbers::all() || (set.starts_with("pcr") && numbers.contains({0, 0x00FFFFFF}))) return "all";
  std::string out;
  for (const auto& range : numbers.ranges()) {
    if (!out.empty()) out += ", ";
    out += number(set, range.first);
    if (range.last != range.first) out += "–" + number(set, range.last);
  }
  return out;
}

std::string commands() {
  std::string out = "\n" + header();
  for (const auto& one : wire::CommandTable::builtin().rows())
    out += row(fmt::format("`{}`", one.name),
               [&](const Profile& profile) { return profile.commands.contains(one.code) ? "yes" : "—"; });
  const auto vendor = *commands_named("vendor");
  return out + row("vendor commands, and newer ones", [&](const Profile& profile) {
           return (profile.commands & vendor) == vendor ? "yes" : (profile.commands & vendor).empty() ? "—" : "some";
         });
}

std::string sets() {
  std::string out = header();
  for (const auto& one : kSets)
    if (one.set != &Profile::commands)
      out += row(fmt::format("`{}`", one.name),
                 [&](const Profile& profile) { return cell_of(one.name, profile.*one.set); });
  return out;
}

std::string limits() {
  const auto seconds = [](std::uint64_t nanoseconds) { return fmt::format("{} s", nanoseconds / 1'000'000'000); };
  const auto count = [](std::uint32_t n) { return n == kUnlimited ? "unlimited" : fmt::format("{}", n); };
  constexpr std::string_view kExhaustion[] = {"refuse", "close", "wait", "reclaim"};
  return header() + row("connections of one owner", [&](const Profile& p) { return count(p.limits.connections); }) +
         row("objects of a space", [&](const Profile& p) { return count(p.limits.objects); }) +
         row("sessions of a space", [&](const Profile& p) { return count(p.limits.sessions); }) +
         row("saved contexts", [&](const Profile& p) { return fmt::format("{} MiB", p.limits.bytes >> 20); }) +
         row("share of TPM time", [&](const Profile& p) { return count(p.limits.share); }) +
         row("priority", [&](const Profile& p) { return count(p.limits.priority); }) +
         row("endless sessions", [&](const Profile& p) { return count(p.limits.endless_sessions); }) +
         row("administers tpmspaced", [&](const Profile& p) { return std::string(p.administer ? "yes" : "no"); }) +
         row("claim, sessions", [&](const Profile& p) { return count(p.terms.claim); }) +
         row("lease", [&](const Profile& p) { return seconds(p.terms.lease); }) +
         row("tenure", [&](const Profile& p) { return seconds(p.terms.tenure); }) +
         row("deadline", [&](const Profile& p) { return seconds(p.terms.deadline); }) +
         row("without a session",
             [&](const Profile& p) { return kExhaustion[static_cast<std::size_t>(p.terms.exhaustion)]; });
}

}  // namespace

std::vector<std::string_view> classes_of_profiles_page() {
  std::vector<std::string_view> out;
  for (const ClassText& one : kClasses) out.push_back(one.name);
  return out;
}

std::string profiles_page() {
  return std::string(kBegin) + classes() + std::string(kCommandsBegin) + commands() + std::string(kSetsBegin) + sets() +
         std::string(kLimitsBegin) + limits();
}

}  // namespace tpmspace::guard
