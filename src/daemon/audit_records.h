// The parts of audit records that the daemon knows: the client, and owners in words.
// Threads: functions of their arguments. Errors: none.
#pragma once

#include <string>

#include "access/access_control.h"
#include "daemon/connection.h"
#include "observe/audit.h"

namespace tpmspace::daemon {

// A record with the known attributes of the client.
[[nodiscard]] observe::AuditRecord record_of(observe::AuditEvent event, const Connection& from);
// "uid 33 of the namespace "web"".
[[nodiscard]] std::string describe(const space::Holder& who, const access::AccessControl& access_control);

}  // namespace tpmspace::daemon
