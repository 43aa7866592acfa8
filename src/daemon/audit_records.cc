#include "daemon/audit_records.h"

#include <fmt/core.h>

#include <utility>

#include "proto/json.h"

namespace tpmspace::daemon {

observe::AuditRecord record_of(observe::AuditEvent event, const Connection& from) {
  const access::ClientIdentity& identity = from.identity();
  observe::AuditRecord out;
  out.event = event;
  out.owner = identity.owner.value;
  out.uid = identity.who.uid;
  out.pid = identity.who.pid;
  out.executable = identity.who.executable.value();
  out.cgroup = identity.who.cgroup.value();
  out.tpm_namespace = identity.who.tpm_namespace.value();
  out.in_doubt = identity.permissions->choice.in_doubt;
  out.listener = identity.entrance.listener;
  out.chip = identity.who.chip.value_or("");
  out.connection = from.id();
  out.profile = identity.permissions->profile().name;
  return out;
}

std::string describe(const space::Holder& who, const access::AccessControl& access_control) {
  using Kind = access::AccessControl::Tenant::Kind;
  if (who.owner.value == 0) return "nobody";
  const auto narrowed = [&](std::string user) {
    if (who.part.connection != 0) user += fmt::format(", connection {} with a narrowed profile", who.part.connection);
    return user;
  };
  const auto tenant = access_control.tenant_of_owner(who.owner);
  const std::string user = fmt::format("uid {}", peer::uid_of(who));
  if (!tenant) return narrowed(user);
  switch (tenant->kind) {
    case Kind::kUnknown:
      return narrowed("a client that could not be identified, of " + user);
    case Kind::kContainers:
      return narrowed(user + " of a container");
    case Kind::kNamespace:
      return narrowed(user + " of the namespace " + proto::json_string(tenant->name));
    case Kind::kListener:
      break;
  }
  return narrowed(user + " of the listener " + proto::json_string(tenant->name));
}

}  // namespace tpmspace::daemon
