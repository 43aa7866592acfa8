#include "explain/policy_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <tl/expected.hpp>

#include "config/config.h"
#include "explain/explain.h"
#include "explain/policy_warnings.h"

namespace tpmspace::explain {
namespace {

constexpr int kExitAllowed = 0, kExitFailed = 1;

int fail(const PolicyQuestion& question, const std::string& sentence) {
  (void)std::fprintf(stderr, "%s: %s\n", question.program.c_str(), sentence.c_str());
  return kExitFailed;
}

int print(const PolicyQuestion& question, const std::string& text, int code) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return code;
  return fail(question, "cannot write to standard output");
}

// The check ignores whether this machine has a TPM, and the place of sockets.
config::Environment any_machine() {
  config::Environment out = config::process_environment();
  out.is_system = true;
  out.exists = [](std::string_view) { return true; };
  return out;
}

std::string counted(std::size_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

int check(const PolicyQuestion& question, const config::PolicyFile& policy, const std::string& file) {
  if (::access(file.c_str(), F_OK) != 0)
    return print(question, fmt::format("{}: does not exist, so the defaults hold\n", file), kExitAllowed);
  std::string out = fmt::format("{}: ok, {}, {}, {}, {}, {}\n", file, counted(policy.profiles.size(), "profile"),
                                counted(policy.rules.size(), "rule"), counted(policy.namespaces.size(), "namespace"),
                                counted(policy.listeners.size(), "listener"), counted(policy.chips.size(), "chip"));
  for (const auto& [line, sentence] : warnings_of(policy, this_machine()))
    out += fmt::format("{}:{}: warning: {}\n", file, line, sentence);
  return print(question, out, kExitAllowed);
}

int explain_command(const PolicyQuestion& question, const guard::Access& access, const std::string& file) {
  const auto explanation =
      visitor_from(*question.as, access, config::system_accounts()).and_then([&](const Visitor& visitor) {
        return explain(access, visitor, question.words);
      });
  if (!explanation) return fail(question, explanation.error());
  return print(question, text_of(*explanation, access, file), explanation->succeeds() ? kExitAllowed : kExitRefused);
}

}  // namespace

int answer(const PolicyQuestion& question, const std::optional<std::string>& config_file) {
  try {
    const auto settings = config::read_settings(config_file);
    if (!settings) return fail(question, settings.error());
    const auto config = config::settle({}, *settings, any_machine());
    if (!config) return fail(question, config.error());
    const std::string file = config_file.value_or(std::string(config::kConfigFile));
    return question.as ? explain_command(question, config->access, file) : check(question, settings->policy, file);
  } catch (const std::exception& e) {
    return fail(question, fmt::format("internal error: {}", e.what()));
  }
}

}  // namespace tpmspace::explain
