// The configuration while the daemon runs: read at the start, read again on request.
//
// Idea: a reload changes profiles, rules, namespaces and listeners; chips and limits stay. The thread of `Rereading`
// reads the files, and the result is taken over in one step of the event loop, or not at all. If a listener or
// namespace names a chip that is not served as configured, nothing changes.
// Threads: belongs to the event loop. Limits: Rereading's. Errors: `done` gets a sentence.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "access/access_control.h"
#include "daemon/rereading.h"
#include "guard/access.h"
#include "log/log.h"
#include "loop/listeners.h"
#include "proto/listener_messages.h"

namespace tpmspace::daemon {

class Reload {
 public:
  // The result, and the clients that asked; 0 is a signal.
  using Done = std::function<void(const proto::Outcome& outcome, const std::vector<host::ClientId>& for_whom)>;
  // The chip is served as configured.
  using Serves = std::function<bool(const guard::Chip& chip)>;

  Reload(loop::EventLoop& loop, log::Log& log, guard::Access access, std::string config_file, Rereading::Reader reader,
         access::AccessControl& access_control, loop::Listeners& listeners, Serves serves, Done done);

  // The current configuration.
  [[nodiscard]] const guard::Access& access() const { return access_; }
  void ask(host::ClientId client) { rereading_.ask(client); }
  // The daemon stops: results are no longer taken over.
  void stop() { stopped_ = true; }

 private:
  void take(Rereading::Result read, const std::vector<host::ClientId>& for_whom);
  // Takes the configuration over.
  [[nodiscard]] proto::Outcome apply(Rereading::Read read);
  // A sentence about a reference to a TPM that is not served as configured; nullopt: none.
  [[nodiscard]] std::optional<std::string> not_served(const guard::Access& access) const;

  // Constant.
  log::Log& log_;
  const std::string config_file_;
  const Serves serves_;
  const Done done_;

  guard::Access access_;
  access::AccessControl& access_control_;
  loop::Listeners& listeners_;
  bool stopped_ = false;
  Rereading rereading_;
};

}  // namespace tpmspace::daemon
