#include "daemon/cli.h"

#include <CLI/CLI.hpp>

#include "base/usage_error.h"
#include "daemon/version.h"
#include "tpm/spec.h"

namespace tpmspace::daemon {
namespace {

// CLI11 takes a non-empty string as the error of a value.
std::string check_mode(const std::string& text) {
  return config::parse_mode(text) ? "" : "permission bits in octal are wanted, such as 0660";
}
std::string check_level(const std::string& text) {
  return log::log_level_from(text) ? "" : "it is one of error, warning, notice, info, debug";
}
std::string check_spec(const std::string& text) {
  const auto spec = tpm::parse_spec(text);
  return spec ? "" : spec.error();
}

std::string footer() {
  return fmt::format(R"(
SPEC is one of
  embedded[:DIR]                      a TPM in this process; its state is kept in DIR, or is not kept
  device:/dev/tpm0                    a TPM's character device
  device:fd=N                         an inherited descriptor of a TPM device
  swtpm:path=P  swtpm:host=H,port=N   a running swtpm
and may be followed by a comma and {} to be as slow as
that chip. Without --tpm: {}, if it is there.

AS is the client, "uid=33,gid=33,cgroup=/system.slice/nginx.service,exe=/usr/sbin/nginx,listener=main,locality=0", also
chip=NAME (all but uid are optional); COMMAND HANDLE... is TPM2_NV_Write 0x01500016, TPM2_PCR_Read pcr=16 or
TPM2_EvictControl owner 0x81000001 persistent=0x81000001. Exit code: 0 allowed, 3 refused, 1 unknown.)",
                     tpm::latency_choices(), config::kDefaultDevice);
}

// `tpmspace policy` becomes this program, and messages carry its name.
std::string name_of_program(int argc, char** argv) {
  const std::string_view tool = "tpmspace";
  return argc > 0 && argv[0] == tool ? std::string(tool) : "tpmspaced";
}

}  // namespace

Arguments parse_arguments(int argc, char** argv) {
  Arguments out;
  CLI::App app(
      "TPM 2.0 access broker and resource manager: gives every client a TPM that looks private and never full.",
      name_of_program(argc, argv));
  std::string mode, level;
  app.add_option("--tpm", out.settings.tpm, "the TPM to serve (see below)")->type_name("SPEC")->check(check_spec);
  app.add_option(
         "--socket", out.settings.socket,
         "socket path (default: /run/tpmspace/tpm.sock for root, $XDG_RUNTIME_DIR/tpmspace/tpm.sock for other users)")
      ->type_name("PATH");
  app.add_option("--socket-mode", mode, "permission bits of the socket (default: 0666)")
      ->type_name("OCTAL")
      ->check(check_mode);
  app.add_option("--config", out.config_file, "configuration file (default: /etc/tpmspace/tpmspace.toml, if it exists)")
      ->type_name("FILE");
  app.add_option("--log-level", level, "error, warning, notice, info (default) or debug")
      ->type_name("LEVEL")
      ->check(check_level);
  bool check = false;
  explain::PolicyQuestion question;
  question.program = app.get_name();
  CLI::Option* check_option =
      app.add_flag("--check-config", check, "check the configuration for errors and likely mistakes, then exit");
  app.add_option("--explain", question.as,
                 "show whether the client AS may run COMMAND, and by which rule, then exit (see below)")
      ->type_name("AS")
      ->excludes(check_option);
  app.add_option("COMMAND", question.words, "for --explain, followed by HANDLE...");
  app.set_version_flag("--version", std::string(kServerName));
  app.footer(footer());
  app.failure_message(base::usage_error);
  try {
    app.parse(argc, argv);
    if (!question.as && !question.words.empty()) throw CLI::ExtrasError(question.words);
  } catch (const CLI::ParseError& e) {
    out.exit_code = app.exit(e) == 0 ? 0 : kExitUsage;
    return out;
  }
  if (check || question.as) out.question = std::move(question);
  if (!mode.empty()) out.settings.socket_mode = config::parse_mode(mode);
  if (!level.empty()) out.settings.log_level = log::log_level_from(level);
  return out;
}

}  // namespace tpmspace::daemon
