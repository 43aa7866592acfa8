#include "tool/sessions.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "client/connection.h"
#include "proto/json.h"
#include "tool/exit_code.h"
#include "tool/time_limits.h"

namespace tpmspace::tool {
namespace {

using proto::SessionEntry;
using proto::WaitingEntry;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr const char* kSessionRow = "{:<12}{:<12}{:<{}}{:<8}{:<22}{:<12}{:<12}{:<12}{:<12}{}\n";
constexpr const char* kWaitingRow = "{:<12}{:<{}}{:<12}{:<14}{}\n";
constexpr std::string_view kTenant = "namespace or listener";
constexpr std::size_t kGap = 2;

std::string tenant_text(const proto::Tenant& tenant) {
  if (!tenant.tpm_namespace.empty()) return tenant.tpm_namespace;
  return tenant.listener.empty() ? "" : "listener " + tenant.listener;
}

// 0: no session has a tenant, so the column is left out.
std::size_t tenant_width(const proto::Sessions& sessions) {
  std::size_t longest = 0;
  for (const auto& entry : sessions.sessions) longest = std::max(longest, tenant_text(entry.tenant).size());
  for (const auto& entry : sessions.waiting) longest = std::max(longest, tenant_text(entry.tenant).size());
  return longest == 0 ? 0 : std::max(longest, kTenant.size()) + kGap;
}

std::string connection_text(std::uint64_t connection) {
  return connection == 0 ? "-" : std::to_string(connection);
}

// Names a client-saved session that has left the TPM "parked" as well.
std::string state_text(const SessionEntry& entry) {
  const bool also = entry.parked && entry.state != proto::SessionState::kParked;
  return state_name(entry.state) + (also ? ", parked" : "");
}

std::string row(const SessionEntry& entry, std::size_t width) {
  return fmt::format(kSessionRow, fmt::format("0x{:08x}", entry.handle), entry.uid, tenant_text(entry.tenant), width,
                     kind_name(entry.kind), state_text(entry), connection_text(entry.connection), age_text(entry.age),
                     age_text(entry.idle), age_text(entry.lease), rebuildable_text(entry.rebuildable));
}

std::string row(const WaitingEntry& entry, std::size_t width) {
  return fmt::format(kWaitingRow, entry.uid, tenant_text(entry.tenant), width, connection_text(entry.connection),
                     age_text(entry.waited), age_text(entry.left));
}

std::string_view tenant_head(std::size_t width) {
  return width == 0 ? std::string_view() : kTenant;
}

std::string waiting_text(const proto::Sessions& sessions, std::size_t width) {
  if (sessions.waiting.empty() && sessions.more_waiting == 0) return "";
  std::string out = "\nwaiting for a session:\n";
  if (!sessions.waiting.empty())
    out += fmt::format(kWaitingRow, "uid", tenant_head(width), width, "connection", "for", "refused in");
  for (const WaitingEntry& entry : sessions.waiting) out += row(entry, width);
  if (sessions.more_waiting != 0) out += fmt::format("and {} more\n", sessions.more_waiting);
  return out;
}

std::string hidden_text(const proto::Sessions& sessions) {
  if (sessions.hidden_sessions == 0 && sessions.hidden_waiting == 0) return "";
  return fmt::format(
      "\nhidden, because they belong to other users: sessions {}, waiting {}; root and the user that tpmspaced runs as "
      "see all\n",
      sessions.hidden_sessions, sessions.hidden_waiting);
}

// No connection, no end: null.
std::string json_connection(std::uint64_t connection) {
  return connection == 0 ? "null" : std::to_string(connection);
}
std::string json_span(std::uint64_t nanoseconds) {
  return nanoseconds == proto::kEndless ? "null" : std::to_string(nanoseconds);
}

std::string json_tenant(const proto::Tenant& tenant) {
  const auto name = [](const std::string& text) { return text.empty() ? "null" : proto::json_string(text); };
  return fmt::format(R"("namespace": {}, "listener": {})", name(tenant.tpm_namespace), name(tenant.listener));
}

std::string json_row(const SessionEntry& entry) {
  return fmt::format(
      R"({{"handle": "0x{:08x}", "uid": {}, "kind": {}, "state": {}, "connection": {}, "age_ns": {}, "idle_ns": {}, )"
      R"("lease_ns": {}, "rebuildable": {}, "parked": {}, {}}})",
      entry.handle, entry.uid, proto::json_string(kind_name(entry.kind)), proto::json_string(state_name(entry.state)),
      json_connection(entry.connection), entry.age, entry.idle, json_span(entry.lease),
      proto::json_string(rebuildable_text(entry.rebuildable)), entry.parked, json_tenant(entry.tenant));
}
std::string json_row(const WaitingEntry& entry) {
  return fmt::format(R"({{"uid": {}, "connection": {}, "waited_ns": {}, "left_ns": {}, {}}})", entry.uid,
                     json_connection(entry.connection), entry.waited, json_span(entry.left), json_tenant(entry.tenant));
}

template <typename Entry>
std::string json_rows(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) out += (out.empty() ? "\n    " : ",\n    ") + json_row(entry);
  return "[" + out + "]";
}

}  // namespace

std::string kind_name(proto::SessionKind kind) {
  switch (kind) {
    case proto::SessionKind::kHmac:
      return "hmac";
    case proto::SessionKind::kPolicy:
      return "policy";
    case proto::SessionKind::kTrial:
      return "trial";
  }
  return std::to_string(static_cast<unsigned>(kind));
}

std::string state_name(proto::SessionState state) {
  switch (state) {
    case proto::SessionState::kLoaded:
      return "loaded";
    case proto::SessionState::kSaved:
      return "saved";
    case proto::SessionState::kClientSaved:
      return "client-saved";
    case proto::SessionState::kAbandoned:
      return "abandoned";
    case proto::SessionState::kParked:
      return "parked";
  }
  return std::to_string(static_cast<unsigned>(state));
}

std::string rebuildable_text(proto::Rebuildable rebuildable) {
  switch (rebuildable) {
    case proto::Rebuildable::kYes:
      return "yes";
    case proto::Rebuildable::kNotPolicy:
      return "no: hmac";
    case proto::Rebuildable::kSecret:
      return "no: salted or bound";
    case proto::Rebuildable::kHash:
      return "no: unknown hash";
    case proto::Rebuildable::kReserved:
      return "no: reserved";
    case proto::Rebuildable::kStep:
      return "no: policy cannot be repeated";
    case proto::Rebuildable::kFull:
      return "no: too many policy steps";
  }
  return std::to_string(static_cast<unsigned>(rebuildable));
}

std::string age_text(std::uint64_t nanoseconds) {
  if (nanoseconds == proto::kEndless) return "endless";
  const std::uint64_t minutes = nanoseconds / kSecond / 60;
  if (minutes < 2) return fmt::format("{:.1f} s", static_cast<double>(nanoseconds) / static_cast<double>(kSecond));
  if (minutes < 120) return fmt::format("{} min", minutes);
  return fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

std::string sessions_text(const proto::Sessions& sessions) {
  const std::size_t width = tenant_width(sessions);
  std::string out = sessions.sessions.empty() ? "no sessions\n" : "";
  if (!sessions.sessions.empty())
    out = fmt::format(kSessionRow, "handle", "uid", tenant_head(width), width, "kind", "state", "connection", "age",
                      "idle", "lease", "can be made again");
  for (const SessionEntry& entry : sessions.sessions) out += row(entry, width);
  if (sessions.more_parked != 0) out += fmt::format("and {} more that are parked\n", sessions.more_parked);
  return out + waiting_text(sessions, width) + hidden_text(sessions);
}

std::string sessions_json(const proto::Sessions& sessions) {
  return fmt::format(
      "{{\n  \"sessions\": {},\n  \"more_parked\": {},\n  \"waiting\": {},\n  \"more_waiting\": {},\n  "
      "\"hidden_sessions\": {},\n"
      "  \"hidden_waiting\": {}\n}}\n",
      json_rows(sessions.sessions), sessions.more_parked, json_rows(sessions.waiting), sessions.more_waiting,
      sessions.hidden_sessions, sessions.hidden_waiting);
}

int show_sessions(const ManagerPlace& manager, bool json) {
  auto connection = connect_to_administer(manager);
  if (!connection) {
    print_error(connection.error().what);
    return kExitFailure;
  }
  const auto sessions = connection->sessions(kAnswerMs);
  if (!sessions) {
    print_error(sessions.error().what);
    return kExitFailure;
  }
  return print(json ? sessions_json(*sessions) : sessions_text(*sessions)) ? kExitOk : kExitFailure;
}

}  // namespace tpmspace::tool
