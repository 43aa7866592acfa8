#include "explain/learning.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "config/names.h"
#include "config/profile_tables.h"
#include "config/profile_text.h"
#include "guard/learned.h"
#include "guard/shipped.h"
#include "guard/start_and_exit.h"
#include "wire/command_table.h"

namespace tpmspace::explain {
namespace {

using wire::Numbers;

static_assert(guard::kMostEntries <= limits::kListEntries);

// As named in the configuration.
std::string name_of(const wire::Command& command) {
  const auto* known = wire::CommandTable::builtin().find(command.code());
  return known != nullptr ? std::string(known->name) : fmt::format("{:#010x}", command.code());
}

std::string held_text(const observe::Held& most) {
  std::vector<std::string> out;
  const auto add = [&](std::uint32_t count, std::string_view what) {
    if (count > 0) out.push_back(fmt::format("{} {}{}", count, what, count == 1 ? "" : "s"));
  };
  add(most.objects, "object");
  add(most.sessions, "session");
  return fmt::format("{}", fmt::join(out, " and "));
}

// A resource that was never used needs no limit.
std::string limits_text(const observe::Held& most) {
  std::string out;
  const auto add = [&](std::uint32_t count, std::string_view key) {
    if (count > 0) out += fmt::format("{} = {}\n", key, std::max(2 * count, Learning::kLeastLimit));
  };
  add(most.objects, "objects");
  add(most.sessions, "sessions");
  return out;
}

}  // namespace

void Learning::record(const wire::Command& command, std::uint8_t locality, wire::Rc code) {
  ++commands_;
  constexpr guard::Verdict kNotListed = {guard::Reason::kNoSuchCommand, wire::rc::kCommandCode};
  if (guard::answer_of_running_tpm(command, kNotListed)) return;  // the command needs no permission
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

void Learning::record(const observe::Held& held) {
  most_.objects = std::max(most_.objects, held.objects);
  most_.sessions = std::max(most_.sessions, held.sessions);
}

std::string Learning::report(const std::string& name) const {
  std::string out = fmt::format("# Learned from {} TPM command{}.\n", commands_, commands_ == 1 ? "" : "s");
  if (full_)
    out += "# NOT COMPLETE: the command used more than a profile can list. Write classes and ranges instead.\n";
  if (!refused_.empty()) out += "# Commands refused during the run, and allowed by this profile:\n";
  for (const auto& [command, code] : refused_) out += fmt::format("#   {} ({:#010x})\n", command, code);
  if (!everything_.empty())
    out += "# \"all\", because the parameters of the command, which name the handles, could not be read:\n";
  for (const auto& [set, command] : everything_) out += fmt::format("#   {}: {}\n", set, command);
  const std::string held = held_text(most_);
  if (!held.empty())
    out += fmt::format("# At one time there were at most {}. The limits are twice that, at least {}.\n", held,
                       kLeastLimit);
  return out + config::to_toml(profile_, name) + limits_text(most_);
}

bool may_be_learned_as(std::string_view name) {
  return config::is_name(name) && name != "default" && guard::shipped_profile(name) == nullptr;
}

}  // namespace tpmspace::explain
