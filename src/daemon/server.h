// The daemon's life cycle, and the wiring of its parts.
//
// Idea: one event loop runs every method. The life of a daemon: the TPMs are brought up; the sockets appear and READY
// is sent; clients come and go. After TERM the daemon accepts no clients and reads no input, the commands at the TPMs
// end, the TPMs are emptied, the loop ends.
// Calls go one way: listeners → admission → connections → dispatcher → commands and requests → TPMs' hosts; responses
// come back by the callbacks that are wired here.
//
// Threads: one; the TPMs' threads are hidden in TpmHost. Errors: sentences in the log and exit code 1.
#pragma once

#include <string>
#include <vector>

#include "access/access_control.h"
#include "config/config.h"
#include "daemon/admission.h"
#include "daemon/clients.h"
#include "daemon/commands.h"
#include "daemon/dispatcher.h"
#include "daemon/reload.h"
#include "daemon/reports.h"
#include "daemon/requests.h"
#include "daemon/rights.h"
#include "host/chips.h"
#include "host/sleep_watch.h"
#include "log/audit_log.h"
#include "log/log.h"
#include "log/service_manager.h"
#include "loop/event_loop.h"
#include "loop/listeners.h"

namespace tpmspace::daemon {

class Server {
 public:
  struct Terms {
    config::Limits limits;
    config::Idle idle;
    guard::Access access;
    // Reads the configuration again.
    // Another thread calls it, so it uses only its own data.
    Rereading::Reader reread;
    std::string config_file;  // the file with the rules
  };
  // Precondition: SIGTERM, SIGINT and SIGHUP are blocked.
  Server(log::Log& log, log::AuditLog audit, const Terms& terms, loop::ListeningSocket main_listener,
         std::vector<host::Chips::Source> sources);

  // Claims the path of each configured listener. Before `run`.
  [[nodiscard]] tl::expected<void, std::string> claim_listeners();
  // Runs until the daemon's end; returns the exit code.
  [[nodiscard]] int run();

 private:
  [[nodiscard]] host::Chips::Callbacks callbacks_of_chips();
  void wire_signals();
  // --- TPMs ---
  void let_clients_in();
  void on_main_failed();
  void tell_state();
  // From now on commands for the TPM are parsed with its new table.
  void on_replaced(std::size_t chip);
  void on_over();
  // --- The end ---
  void on_stop_signal();
  void begin_stop();

  log::Log& log_;
  const Descriptors descriptors_;
  loop::EventLoop loop_;
  log::ServiceManager manager_;
  log::AuditLog audit_;
  access::AccessControl access_control_;
  loop::Listeners listeners_;
  Rights rights_;
  Clients clients_;
  Reload reload_;
  Reports reports_;
  Commands commands_;
  Requests requests_;
  Dispatcher dispatcher_;
  Admission admission_;
  bool stopping_ = false;
  int exit_code_ = 0;
  loop::Timer audit_timer_;
  // Last: destroyed first, and no callback comes after.
  host::Chips chips_;
  host::SleepWatch sleep_;
};

}  // namespace tpmspace::daemon
