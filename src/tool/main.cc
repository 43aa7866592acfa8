#include <exception>

#include "client/socket_path.h"
#include "posix/standard_streams.h"
#include "tool/cli.h"
#include "tool/doctor.h"
#include "tool/exit_code.h"
#include "tool/flush.h"
#include "tool/policy.h"
#include "tool/relay.h"
#include "tool/sessions.h"
#include "tool/status.h"

namespace tpmspace::tool {
namespace {

std::string socket_or_default(const std::string& socket) {
  return socket.empty() ? client::default_socket_path() : socket;
}

struct Execute {
  int operator()(const Exit& exit) const { return exit.code; }
  int operator()(const RunOptions& options) const { return run(options); }
  int operator()(const ConnectOptions& options) const { return connect_to_manager(socket_or_default(options.socket)); }
  int operator()(const StatusOptions& options) const {
    return show_status(socket_or_default(options.socket), options.json);
  }
  int operator()(const SessionsOptions& options) const {
    return show_sessions(socket_or_default(options.socket), options.json);
  }
  int operator()(const FlushOptions& options) const {
    return flush_sessions(socket_or_default(options.socket), options);
  }
  int operator()(const ReserveOptions& options) const {
    return reserve_session(socket_or_default(options.socket), options);
  }
  int operator()(const DoorOptions& options) const { return manage_doors(socket_or_default(options.socket), options); }
  int operator()(const OpenOptions& options) const { return open_narrowed(socket_or_default(options.socket), options); }
  int operator()(const PolicyOptions& options) const { return ask_daemon(options); }
  int operator()(const ReloadOptions& options) const { return reload_policy(socket_or_default(options.socket)); }
  int operator()(const LearnOptions& options) const { return learn(socket_or_default(options.socket), options); }
  int operator()(const DoctorOptions& options) const { return examine(socket_or_default(options.socket), ""); }
};

}  // namespace
}  // namespace tpmspace::tool

int main(int argc, char** argv) {
  using namespace tpmspace::tool;
  tpmspace::posix::open_standard_streams();
  try {
    return std::visit(Execute{}, parse_command_line(argc, argv));
  } catch (const std::exception& e) {
    complain(std::string("unexpected failure: ") + e.what());
    return kExitFailure;
  }
}
