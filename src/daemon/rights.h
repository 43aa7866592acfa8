// What a connection may do now, and at which TPM.
//
// Idea: a connection's permissions follow the current policy. Every decision on a connection asks here, so the
// permissions are renewed, and the TPM's thread learns of new limits, before the decision.
// Threads: belongs to the event loop. Errors: if the thread takes no limits now, `limits_pending` stays true.
#pragma once

#include "access/access_control.h"
#include "daemon/connection.h"
#include "host/chips.h"

namespace tpmspace::daemon {

class Rights {
 public:
  Rights(access::AccessControl& access_control, host::Chips& chips) : access_control_(access_control), chips_(chips) {}

  [[nodiscard]] host::TpmHost& host_of(const Connection& client) const { return chips_.host(client.identity().chip); }
  // By the current policy.
  [[nodiscard]] const access::Permissions& of(Connection& client) const {
    access::ClientIdentity& identity = client.identity();
    access_control_.read_program(identity);
    if (access_control_.renew(identity)) identity.limits_pending = true;
    if (identity.limits_pending) identity.limits_pending = !host_of(client).set_limits(client.id(), identity.limits());
    return *identity.permissions;
  }
  [[nodiscard]] bool administers(Connection& client) const { return of(client).profile().administer; }

 private:
  access::AccessControl& access_control_;
  host::Chips& chips_;
};

}  // namespace tpmspace::daemon
