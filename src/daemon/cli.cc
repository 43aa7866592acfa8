#include "daemon/cli.h"

#include <CLI/CLI.hpp>

#include "cli/complaint.h"
#include "daemon/version.h"
#include "tpm/spec.h"

namespace tpmspace::daemon {
namespace {

// CLI11 takes what is wrong with a value as a string that is not empty.
std::string check_mode(const std::string& text) {
  return parse_mode(text) ? "" : "permission bits in octal are wanted, such as 0660";
}
std::string check_level(const std::string& text) {
  return log_level_from(text) ? "" : "it is one of error, warning, notice, info, debug";
}
std::string check_spec(const std::string& text) {
  const auto spec = tpm::parse_spec(text);
  return spec ? "" : spec.error();
}

std::string footer() {
  return fmt::format(R"(
SPEC is one of
  embedded[:DIR]                      a TPM in this process; its state in DIR, or nowhere
  device:/dev/tpm0                    a TPM's character device
  device:fd=N                         an inherited descriptor that speaks as one
  swtpm:path=P  swtpm:host=H,port=N   a running swtpm
and may be followed by a comma and {} to be as slow as
that chip. Without --tpm: {}, if it is there.)",
                     tpm::latency_choices(), kDefaultDevice);
}

}  // namespace

Arguments parse_arguments(int argc, char** argv) {
  Arguments out;
  CLI::App app(
      "TPM 2.0 access broker and resource manager: gives every client a TPM that looks private and never full.",
      "tpmspaced");
  std::string mode, level;
  app.add_option("--tpm", out.settings.tpm, "the TPM to serve (see below)")->type_name("SPEC")->check(check_spec);
  app.add_option("--socket", out.settings.socket,
                 "where clients connect (default: /run/tpmspace/tpm.sock for root, "
                 "$XDG_RUNTIME_DIR/tpmspace/tpm.sock for others)")
      ->type_name("PATH");
  app.add_option("--socket-mode", mode, "who may connect (default: 0600)")->type_name("OCTAL")->check(check_mode);
  app.add_option("--config", out.config_file, "configuration (default: /etc/tpmspace/tpmspace.toml, if it is there)")
      ->type_name("FILE");
  app.add_option("--log-level", level, "error, warning, notice, info (default) or debug")
      ->type_name("LEVEL")
      ->check(check_level);
  app.set_version_flag("--version", std::string(kServerName));
  app.footer(footer());
  app.failure_message(cli::complaint);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    out.exit_code = app.exit(e) == 0 ? 0 : kExitUsage;
    return out;
  }
  if (!mode.empty()) out.settings.socket_mode = parse_mode(mode);
  if (!level.empty()) out.settings.log_level = log_level_from(level);
  return out;
}

}  // namespace tpmspace::daemon
