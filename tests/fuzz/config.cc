// The daemon's configuration file: any bytes give a configuration within its limits, or a sentence with a place; an
// accepted file settles into a configuration with which the daemon can start, or gives the reason. Rules name existing
// things, listeners can be made, every client gets a profile, and every warning has a line.

#include "config/config.h"

#include "books/view.h"
#include "config/listener_paths.h"
#include "explain/policy_warnings.h"
#include "fuzz.h"
#include "guard/listener.h"
#include "proto/socket_path.h"

namespace tpmspace::fuzz {
namespace {

using config::Settings;
using wire::Numbers;

constexpr const char* kName = "f.toml";

void check_sentence(const std::string& sentence) {
  require(sentence.starts_with(std::string(kName) + ":"), "an error says where");
  require(sentence.size() > std::string(kName).size() + 6, "an error is a sentence");
}

void check_limits(const config::Limits& limits) {
  require(limits.connections_per_owner >= 1 && limits.objects >= 1 && limits.sessions >= 1 && limits.queue >= 1,
          "no limit shuts everybody out");
  require(limits.bytes >= 1U << 16U && limits.bytes <= INT64_MAX, "bytes are within their bounds");
}

void check_texts(const Settings& settings) {
  for (const auto& text : {settings.tpm, settings.socket})
    require(!text || (!text->empty() && text->find('\0') == std::string::npos), "a text can be used as a C string");
  require(!settings.socket_mode || *settings.socket_mode <= 0777U, "a mode is permission bits");
}

// No account is looked up: some names are known.
config::Accounts few_accounts() {
  const auto look = [](const std::string& name) {
    return name.size() == 1 ? std::optional<std::uint32_t>(static_cast<unsigned char>(name[0])) : std::nullopt;
  };
  return {look, look};
}

void check_namespaces(const std::vector<guard::Namespace>& namespaces) {
  require(namespaces.size() <= limits::kNamespaces, "there are no more than are possible");
  for (auto one = namespaces.begin(); one != namespaces.end(); ++one) {
    require(one->line > 0 && !one->name.empty(), "a namespace has a line and a name");
    require(one->members != guard::Rule{}, "it says who belongs to it");
    if (one->window)
      require(space::View{.persistent_base = one->window->first}.is_possible() &&
                  one->window->last - one->window->first == space::View::kWindow - 1,
              "its window is one");
    for (auto other = namespaces.begin(); other != one; ++other) {
      require(one->name != other->name, "names differ");
      require(!one->window || !other->window || (Numbers{*one->window} & Numbers{*other->window}).empty(),
              "windows do not overlap");
    }
  }
}

bool can_be_bound(const std::string& path) {
  return path.starts_with('/') && path.size() <= proto::kMaxSocketPath;
}

void check_policy(const config::PolicyFile& policy) {
  require(policy.profiles.size() <= limits::kProfiles && policy.rules.size() <= limits::kRules &&
              policy.listeners.size() <= limits::kListeners,
          "there are no more than are possible");
  for (const auto& listener : policy.listeners) {
    require(!listener.name.empty() && !guard::is_reserved_listener(listener.name) && listener.mode <= 0777U,
            "a listener has a name");
    require(listener.default_path ? listener.path.empty() && config::is_directory_name(listener.name)
                                  : can_be_bound(listener.path),
            "a listener has a path, or a name that can be a directory's");
  }
  for (const auto& rule : policy.rules) require(rule.line > 0, "a rule has a line");
  check_namespaces(policy.namespaces);
  for (const bool has : {false, true})
    for (const auto& warning :
         explain::warnings_of(policy, {.may_trace = has, .is_directory = [has](const auto&) { return has; }}))
      require(warning.line > 0 && !warning.sentence.empty(), "a warning has a line and is a sentence");
}

void check_listeners(const std::vector<guard::Listener>& listeners, const std::string& main) {
  for (auto one = listeners.begin(); one != listeners.end(); ++one) {
    require(can_be_bound(one->path), "a listener can be made");
    require(!config::same_place(one->path, main), "it is not where the main one is");
    for (auto other = listeners.begin(); other != one; ++other)
      require(one->name != other->name && !config::same_place(one->path, other->path), "listeners differ");
  }
}

// Any client of any listener.
void check_access(const guard::Access& access) {
  require(!access.policy.rules().empty() && access.policy.rules().back().line == 0, "the standard rule is the last");
  for (const auto& rule : access.policy.rules())
    require(access.policy.profile(rule.profile) != nullptr &&
                (!rule.tpm_namespace || access.policy.namespace_named(*rule.tpm_namespace) != nullptr),
            "a rule's profile and namespace exist");
  const auto is_served = [&](const std::optional<std::string>& chip) {
    return !chip || std::any_of(access.chips.begin(), access.chips.end(),
                                [&](const guard::Chip& one) { return one.name == *chip; });
  };
  for (const auto& rule : access.policy.rules()) require(is_served(rule.chip), "a rule's chip exists");
  for (const auto& one : access.policy.namespaces()) require(is_served(one.chip), "a namespace's chip exists");
  for (const auto& listener : access.listeners) require(is_served(listener.chip), "a listener's chip exists");
  const guard::Principal root = guard::Principal::ordinary(0);
  for (const auto& listener : access.listeners)
    require(!access.policy.choose(root, listener.name).profile.name.empty(), "everybody gets a profile");
}

void check_settled(const Settings& settings) {
  for (const bool is_root : {false, true}) {
    const config::Environment machine{is_root, std::nullopt, [is_root](std::string_view) { return is_root; }};
    const auto config = config::settle({}, settings, machine);
    if (!config) {
      require(!config.error().empty(), "an error is a sentence");
      continue;
    }
    require(!config->access.chips.empty() && !config->socket.empty(), "nothing is missing");
    for (const auto& chip : config->access.chips) require(!chip.name.empty() && !chip.tpm.empty(), "a chip has both");
    require(config->limits == settings.limits, "limits are the file's");
    check_listeners(config->access.listeners, config->socket);
    check_access(config->access);
  }
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  std::string text;
  for (const auto byte : std::span(data, size)) text.push_back(static_cast<char>(byte));
  const auto settings = config::parse_settings(text, fuzz::kName, fuzz::few_accounts());
  if (!settings) {
    fuzz::check_sentence(settings.error());
    return 0;
  }
  fuzz::check_limits(settings->limits);
  fuzz::check_texts(*settings);
  fuzz::check_policy(settings->policy);
  fuzz::check_settled(*settings);
  return 0;
}
