#include "explain/listener_order.h"

#include <fmt/core.h>

#include <optional>

#include "config/listener_paths.h"
#include "config/names.h"
#include "config/number_list.h"
#include "explain/listener_locality.h"
#include "guard/shipped.h"
#include "proto/listener_text.h"

namespace tpmspace::explain {
namespace {

// The fault of the order; nullopt: none. `profile`: null if none is named.
std::optional<std::string> fault_of(const proto::ListenerEntry& entry, const guard::Profile* profile) {
  if (!config::is_name(entry.name)) return "a listener's name has " + config::name_rule();
  if (guard::is_reserved_listener(entry.name))
    return fmt::format("\"{}\" is the name of a listener of tpmspaced's own; take another one", entry.name);
  if (entry.path.empty() && !config::is_directory_name(entry.name))
    return fmt::format("\"{}\" cannot be the name of a directory; take another one", entry.name);
  if (!entry.path.empty() && entry.path[0] != '/') return "a listener's path begins with a slash";
  if (!entry.profile.empty() && profile == nullptr) return fmt::format("there is no profile \"{}\"", entry.profile);
  if (entry.locality && !config::is_possible(config::kLocalities, {*entry.locality, *entry.locality}))
    return fmt::format("{} is no locality: localities are 0 to 4 and 32 to 255", *entry.locality);
  if (entry.locality && profile != nullptr && !profile->localities.contains(*entry.locality))
    return fmt::format("the profile \"{}\" does not list locality {}: its clients would be refused everything",
                       entry.profile, *entry.locality);
  if (entry.separate_users && entry.profile.empty())
    return "separate users are for a listener with a profile: without one each user is the same owner as on the main "
           "listener";
  return std::nullopt;
}

}  // namespace

tl::expected<guard::Listener, std::string> listener_of(const proto::ListenerEntry& entry, const guard::Policy& policy,
                                                       const std::string& main_path) {
  if (auto fault = fault_of(entry, policy.profile(entry.profile))) return tl::make_unexpected(*std::move(fault));
  const auto id = [](std::uint32_t value) { return value == proto::kKeep ? std::nullopt : std::optional(value); };
  guard::Listener out;
  out.name = entry.name;
  out.default_path = entry.path.empty();
  out.path = entry.path.empty() ? config::default_listener_path(main_path, entry.name) : entry.path;
  out.mode = static_cast<mode_t>(entry.mode & 0777U);
  out.owner = id(entry.uid);
  out.group = id(entry.gid);
  if (!entry.profile.empty()) out.profile = entry.profile;
  out.locality = entry.locality;
  out.connections = entry.limit;
  if (!entry.chip.empty()) out.chip = entry.chip;
  out.separate_users = entry.separate_users;
  return out;
}

std::string description_of(const proto::ListenerEntry& entry, const guard::Listener& made,
                           const guard::Policy& policy) {
  constexpr std::uint32_t kForAll = 02;
  std::string out = fmt::format("the listener \"{}\" is at {}, {}", made.name, made.path, proto::described(entry));
  const guard::Profile* profile = policy.profile(entry.profile);
  if ((entry.mode & kForAll) != 0 && profile != nullptr && guard::exceeds_safe(*profile))
    out += "; everybody may open it, and gets more than \"safe\" allows: set owner, group or mode";
  const auto profile_of = [&](const std::string& name) -> const guard::Profile& { return *policy.profile(name); };
  if (const auto trouble = trouble_with_locality(made, policy.rules(), policy.namespaces(), profile_of))
    out += "; warning: " + *trouble;
  return out;
}

}  // namespace tpmspace::explain
