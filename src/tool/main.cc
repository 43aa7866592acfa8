#include <exception>

#include "base/standard_streams.h"
#include "tool/cli.h"
#include "tool/clients.h"
#include "tool/doctor.h"
#include "tool/exit_code.h"
#include "tool/flush.h"
#include "tool/policy.h"
#include "tool/relay.h"
#include "tool/sessions.h"
#include "tool/status.h"

namespace tpmspace::tool {
namespace {

struct Execute {
  int operator()(const Exit& exit) const { return exit.code; }
  int operator()(const RunOptions& options) const { return run(options); }
  int operator()(const ConnectOptions& options) const { return connect_to_manager(options.manager); }
  int operator()(const StatusOptions& options) const { return show_status(options.manager, options.json); }
  int operator()(const SessionsOptions& options) const { return show_sessions(options.manager, options.json); }
  int operator()(const FlushOptions& options) const { return flush_sessions(options); }
  int operator()(const ReserveOptions& options) const { return reserve_session(options); }
  int operator()(const ListenerOptions& options) const { return manage_listeners(options); }
  int operator()(const OpenOptions& options) const { return open_narrowed(options); }
  int operator()(const PolicyOptions& options) const { return ask_daemon(options); }
  int operator()(const ReloadOptions& options) const { return reload_policy(options.manager); }
  int operator()(const LearnOptions& options) const { return learn(options); }
  int operator()(const DoctorOptions& options) const { return examine(socket_of(options.manager), "", options.json); }
  int operator()(const ClientsOptions& options) const { return show_clients(options.manager, options.json); }
  int operator()(const WhoamiOptions& options) const { return show_whoami(options.manager, options.json); }
};

}  // namespace
}  // namespace tpmspace::tool

int main(int argc, char** argv) {
  using namespace tpmspace::tool;
  tpmspace::base::open_standard_streams();
  try {
    return std::visit(Execute{}, parse_command_line(argc, argv));
  } catch (const std::exception& e) {
    print_error(std::string("unexpected failure: ") + e.what());
    return kExitFailure;
  }
}
