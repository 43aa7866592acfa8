#include "profiles_page.h"

#include <fmt/format.h>

#include "guard/needs.h"
#include "guard/shipped.h"
#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

constexpr std::string_view kBegin = R"(# Profiles

A profile says what a client may do. These come with tpmspace. Who gets which is said by [rules and listeners](policy.md).

| Profile | For |
|---|---|
| `safe` | everybody whom no rule gives another: keys of one's own, sealing, policy sessions, quotes, random numbers, public reads. Nothing that changes what others see, spends what others share, or uses what others put there |
| `storage` | who keeps keys and data: as `safe` without attestation, and writes NV indices by their own authorization |
| `attest` | who says what this machine is: as `safe`, with the persistent keys of the endorsement range, anonymous signatures and the audit of commands |
| `provision` | who sets up: as `safe`, with NV indices and persistent objects made, used and removed, and the authorizations of the owner and endorsement hierarchies changed. No lockout, no platform, no PCR |
| `admin` | who may do everything, vendor commands and those newer than the table included |

Every list is an allow-list: what is not in it is refused.

TPM2_Startup, TPM2_Shutdown and TPM2_SelfTest(NO) get an answer from tpmspaced itself where a profile does not list them:
[Startup and exit](startup.md).

## What a refusal looks like

The TPM's own codes, spoken by tpmspace (layer 11: `0x000B…`), before the TPM sees the command. `n` is the number of the
handle or parameter.

| Code | When |
|---|---|
| `0x143` COMMAND_CODE | the profile does not list the command: as if the chip lacked it |
| `0x120` DISABLED | it lists the command, and a rule about who, listener or time takes it away |
| `0x907` LOCALITY | the locality is not listed |
| `0x085` HIERARCHY, `n` | the hierarchy is not listed; TPM_RH_LOCKOUT in any place, as what a session is bound to included |
| `0x08B` HANDLE, `n` | the persistent object is not listed for what the command does with it |
| `0x149` NV_AUTHORIZATION | the NV index is not listed for that, or not by the authorization of owner or platform; or it is a PIN Fail index, the command could spend one of its tries, and `nv.pin` does not list it |
| `0x127` PCR | a PCR is not listed for that |
| `0x092` SCHEME, `n` | an ECDAA signature spends a commitment, of which all clients share the counter: it needs TPM2_Commit |
| `0x082` ATTRIBUTES, session `n` | a session encrypts the parameter that must be judged |

A parameter that must be judged and cannot be read is refused with the TPM's code for that.

## What is judged in the parameters

PCR selections of PCR_Read, Quote, PolicyPCR, Create and CreatePrimary (`pcr.read`: wherever values or their digest come
out); the hierarchy in LoadExternal, Hash, SequenceComplete and HierarchyControl; the handle in EvictControl; the index
in NV_DefineSpace; the scheme of a signature. FlushContext and ContextLoad name only what is of the client's own space.

## Classes of commands

`allow` and `deny` of a [profile](policy.md#profiles) take these names. A class with a set needs both: `allow`, and what the
commands may be used for. (NV_ChangeAuth, which is in `nv-write`, is judged by `nv.define`.)

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

std::string classes() {
  std::string out = "| Class | For | Set | Commands |\n|---|---|---|---|\n";
  for (const ClassText& one : kClasses) {
    std::string names;
    const SetOfProfile* set = nullptr;
    for (const auto& command : wire::CommandTable::builtin().rows()) {
      if (wire::name_of(command.permission) != one.name) continue;
      set = main_set_of(command.permission);
      names += fmt::format("{}{}", names.empty() ? "" : ", ", command.name.substr(std::string_view("TPM2_").size()));
    }
    out += fmt::format("| `{}` | {} | {} | {} |\n", one.name, one.purpose,
                       set == nullptr ? "" : fmt::format("`{}`", set->name), names.empty() ? "all others" : names);
  }
  return out;
}

constexpr std::string_view kSetsBegin = R"(
## What they may do it to

A handle in none of these is refused, but for what is in the client's own space (transient objects, sequences,
sessions). `persistent.parent` is also what a session may be bound to: binding and Create both prove that the
key's authorization is known. `persistent.use` is any use of a persistent key but as a parent, as the salt or bind key of
a session, or by ReadPublic; computing with its public part is one. `nv.by-owner` are the indices that may be read, written and locked by
the authorization of the owner or platform hierarchy instead of their own; that of the owner is usually empty. `nv.pin`
are the PIN Fail indices whose own authorization may be tried ([Lockout](lockout.md)); what else may be done with them the
other sets say.

)";

constexpr std::string_view kLimitsBegin = R"(
## What they may have

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
