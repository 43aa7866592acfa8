#include "tool/run.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tool/exit_code.h"
#include "tool/fapi.h"
#include "tool/private_daemon.h"

namespace tpmspace::tool {
namespace {

int run_command(const RunOptions& options, const LibraryPlaces& library, const Workplace& workplace,
                PrivateDaemon& daemon, const Signals& signals) {
  Launch launch;
  launch.arguments = options.command;
  launch.environment = client_environment("space:path=" + workplace.socket(), library);
  launch.environment.push_back({"TPMSPACE_SOCKET", workplace.socket()});
  launch.environment.push_back({"TSS2_FAPICONF", workplace.fapi_config()});
  launch.mask = signals.outer();
  const auto command = spawn(launch);
  if (!command) return cannot_run(options.command[0], command.error());
  return exit_code_of(wait_for(*command, signals, [&daemon] {
    if (const auto ended = daemon.look()) print_error(*ended);
  }));
}

FapiPlaces fapi_places(const std::string& tpm, const Workplace& workplace) {
  const auto state = state_directory(tpm);
  return {.config = workplace.fapi_config(),
          .keystore = state ? *state + "/fapi" : workplace.fapi(),
          .scratch = workplace.fapi(),
          .socket = workplace.socket()};
}

}  // namespace

std::vector<Variable> client_environment(const std::string& tcti, const LibraryPlaces& library) {
  std::vector<Variable> out = {
      {"TPM2TOOLS_TCTI", tcti}, {"TPM2OPENSSL_TCTI", tcti}, {"TPM2_PKCS11_TCTI", tcti}, {"TSS2_TCTI", tcti}};
  if (library.beside.empty() || library.beside == library.by_itself) return out;
  const std::string folder = library.beside.substr(0, library.beside.rfind('/'));
  const char* old = std::getenv("LD_LIBRARY_PATH");
  const bool more = old != nullptr && *old != '\0';
  out.push_back({"LD_LIBRARY_PATH", more ? folder + ":" + old : folder});
  return out;
}

int run(const RunOptions& options) {
  const Signals signals;
  const std::string program = options.daemon.empty() ? find_daemon() : options.daemon;
  if (program.empty()) return fail("there is no tpmspaced beside this program or in PATH; install it", kExitRunFailed);
  const LibraryPlaces library = find_library();
  if (library.beside.empty() && library.by_itself.empty())
    return fail(
        std::string(kLibrary) + ", the library by which programs use this TPM, cannot be loaded: it is neither " +
            "beside this program nor where the dynamic linker looks; install it (cmake --install, ldconfig), or " +
            "name its directory in LD_LIBRARY_PATH",
        kExitRunFailed);
  const auto workplace = Workplace::make();
  if (!workplace) return fail(workplace.error(), kExitRunFailed);
  auto daemon = PrivateDaemon::start(program, options.tpm, *workplace, signals);
  if (!daemon) return fail(daemon.error(), kExitRunFailed);

  const auto ready = daemon->wait_ready(signals);
  if (!ready) return fail(ready.error(), kExitRunFailed);
  int code = 0;
  if (*ready) {
    code = kExitSignalBase + **ready;
  } else if (const auto fapi = write_fapi_config(fapi_places(options.tpm, *workplace));
             !fapi) {  // the folder exists now
    code = fail(fapi.error(), kExitRunFailed);
  } else {
    code = run_command(options, library, *workplace, *daemon, signals);
  }
  daemon->stop(signals);
  if (const std::string errors = daemon->errors(); !errors.empty()) print_error(errors);
  return code;
}

}  // namespace tpmspace::tool
