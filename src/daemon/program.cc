#include "daemon/program.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <utility>

#include "daemon/server.h"
#include "explain/policy_warnings.h"
#include "log/log.h"
#include "loop/listening_socket.h"
#include "tpm/spec.h"

namespace tpmspace::daemon {
namespace {

// Each client costs one descriptor, and the usual soft limit is 1024.
void raise_descriptor_limit(log::Log& log) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) log.warning("the limit of open files cannot be raised");
}

// The event loop takes these signals from a descriptor, so no thread may take them.
sigset_t stop_signals() {
  sigset_t out;
  sigemptyset(&out);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&out, number);
  return out;
}

// The service manager's socket; nullopt: none was handed over.
tl::expected<std::optional<loop::ListeningSocket>, std::string> inherited_socket() {
  const int handed_over = sd_listen_fds(1);
  if (handed_over > 1)
    return tl::unexpected(std::string("systemd hands over more than one socket: name one ListenStream= only"));
  if (handed_over < 1) return std::nullopt;
  return loop::ListeningSocket::inherit(SD_LISTEN_FDS_START).map([](loop::ListeningSocket out) {
    return std::optional(std::move(out));
  });
}

tl::expected<loop::ListeningSocket, std::string> make_socket(const config::Config& config,
                                                             std::optional<loop::ListeningSocket> inherited) {
  if (inherited) return *std::move(inherited);
  return loop::ListeningSocket::claim(
      {.path = config.socket, .mode = config.socket_mode, .make_directories = config.default_socket ? 1U : 0U});
}

int no_log(const std::exception& e) {
  (void)log::write_whole(2, fmt::format("tpmspaced: there is no thread for the log: {}\n", e.what()));
  return 1;
}

int fail(log::Log& log, const std::string& why) {
  log.error("{}", why);
  return 1;
}

// The default ledger lies in the default socket's directory, which is needed even if the socket is elsewhere.
void make_ledger_directory(const std::string& ledger) {
  const std::string directory = ledger.substr(0, ledger.rfind('/'));
  if (::mkdir(directory.c_str(), 0755) == 0) (void)::chmod(directory.c_str(), 0755);
}

int serve(log::Log& log, const config::Config& config, std::optional<loop::ListeningSocket> inherited,
          const Rereading::Reader& reread, const std::string& config_file) {
  std::vector<host::Chips::Source> sources;
  for (const guard::Chip& chip : config.access.chips) {
    const auto spec = tpm::parse_spec(chip.tpm);
    if (!spec) return fail(log, spec.error());
    sources.push_back({chip, host::tpm_source(*spec, log, chip.ledger)});
  }
  auto socket = make_socket(config, std::move(inherited));
  if (!socket) return fail(log, socket.error());

  auto audit = log::AuditLog::open(log, config.audit);
  if (!audit) return fail(log, audit.error());

  if (::geteuid() == guard::kOverflowUid)
    log.warning(
        "tpmspaced runs as uid {}, which the kernel shows of everybody whose uid it cannot tell: only root may "
        "administer; run it as a user of its own",
        guard::kOverflowUid);
  for (const guard::Chip& chip : config.access.chips)
    if (chip.default_ledger) make_ledger_directory(chip.ledger);
  raise_descriptor_limit(log);
  const sigset_t signals = stop_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  int code = 0;
  {
    Server server(log, std::move(*audit), {config.limits, config.idle, config.access, reread, config_file},
                  std::move(*socket), std::move(sources));
    const auto claimed = server.claim_listeners();
    code = claimed ? server.run() : fail(log, claimed.error());
    // From here on a signal ends the process: the sender does not want to wait for the rest.
    ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  }
  return code;
}

// The running limits were fixed at the start, also for profiles without limits.
Rereading::Result read_again(const config::Settings& command_line, const std::optional<std::string>& config_file,
                             const config::Config& running, config::Environment environment) {
  environment.exists = [](std::string_view) { return true; };  // the TPM is served already
  bool has_file = false;
  return config::read_settings(config_file, &running.limits)
      .and_then([&](const config::Settings& again) {
        has_file = !again.name.empty();
        return config::settle(command_line, again, environment);
      })
      .map([&](config::Config again) {
        auto pending = config::pending_keys(running, again);
        return Rereading::Read{std::move(again.access), peer::SubordinateIds::of_this_machine(), std::move(pending),
                               has_file};
      });
}

}  // namespace

int run_program(const config::Settings& command_line, const std::optional<std::string>& config_file) {
  std::optional<log::Log> the_log;
  try {
    the_log.emplace(command_line.log_level.value_or(log::LogLevel::kInfo));
  } catch (const std::exception& e) {
    return no_log(e);
  }
  log::Log& log = *the_log;
  try {
    (void)::signal(SIGPIPE, SIG_IGN);
    ::umask(0077);
    const auto file = config::read_settings(config_file);
    if (!file) return fail(log, file.error());
    auto inherited = inherited_socket();
    if (!inherited) return fail(log, inherited.error());
    config::Environment environment = config::process_environment();
    if (*inherited) environment.inherited_socket = (*inherited)->path();
    const auto config = config::settle(command_line, *file, environment);
    if (!config) return fail(log, config.error());
    log.set_level(config->log_level);
    for (const auto& [line, sentence] : explain::warnings_of(file->policy, explain::this_machine()))
      log.warning("{}:{}: {}", config_file.value_or(std::string(config::kConfigFile)), line, sentence);
    const auto reread = [command_line, config_file, running = *config, environment] {
      return read_again(command_line, config_file, running, environment);
    };
    return serve(log, *config, *std::move(inherited), reread, config_file.value_or(std::string(config::kConfigFile)));
  } catch (const std::exception& e) {
    return fail(log, fmt::format("something that should not fail has failed: {}", e.what()));
  }
}

}  // namespace tpmspace::daemon
