#include "daemon/learning.h"

#include <fmt/format.h>

#include <utility>

#include "daemon/limits.h"
#include "daemon/names.h"
#include "daemon/profile_tables.h"
#include "daemon/profile_text.h"
#include "guard/learned.h"
#include "guard/shipped.h"
#include "wire/command_table.h"

namespace tpmspace::daemon {
namespace {

static_assert(guard::kMostEntries <= limits::kListEntries);

// As the configuration names it.
std::string name_of(const wire::Command& command) {
  const auto* known = wire::CommandTable::builtin().find(command.code());
  return known != nullptr ? std::string(known->name) : fmt::format("{:#010x}", command.code());
}

}  // namespace

void Learning::record(const wire::Command& command, std::uint8_t locality, wire::Rc code) {
  ++commands_;
  if (code != wire::rc::kSuccess && refused_.size() < kMostRefused) refused_.try_emplace(name_of(command), code);
  if (full_) return;
  guard::Profile grown = guard::learn(profile_, command, locality);
  if (!guard::has_room(grown)) {
    full_ = true;
    return;
  }
  for (const auto& one : guard::kSets)
    if (grown.*one.set == Numbers::all() && profile_.*one.set != Numbers::all())
      everything_.try_emplace(one.name, name_of(command));
  profile_ = std::move(grown);
}

std::string Learning::report(const std::string& name) const {
  std::string out = fmt::format("# Learned from {} TPM command{}.\n", commands_, commands_ == 1 ? "" : "s");
  if (full_) out += "# NOT COMPLETE: more was used than a profile can list. Write classes and ranges instead.\n";
  if (!refused_.empty()) out += "# Refused meanwhile, and allowed by this profile:\n";
  for (const auto& [command, code] : refused_) out += fmt::format("#   {} ({:#010x})\n", command, code);
  if (!everything_.empty()) out += "# \"all\", because it cannot be told what that command names there:\n";
  for (const auto& [set, command] : everything_) out += fmt::format("#   {}: {}\n", set, command);
  return out + to_toml(profile_, name);
}

bool may_be_learned_as(std::string_view name) {
  return is_name(name) && name != "default" && guard::shipped_profile(name) == nullptr;
}

}  // namespace tpmspace::daemon
