#include "daemon/reports.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "daemon/version.h"
#include "explain/explain.h"

namespace tpmspace::daemon {
namespace {

std::uint64_t nanoseconds_since(std::chrono::steady_clock::time_point then) {
  const auto span =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - then).count();
  return span > 0 ? static_cast<std::uint64_t>(span) : 0;
}

// Clients choose some of these texts, and terminals show them.
std::string printable(std::string text) {
  if (text.size() > proto::kMaxText) text.resize(proto::kMaxText);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

proto::Who who_of(const access::ClientIdentity& identity) {
  const guard::Principal& who = identity.who;
  return {.uid = who.uid,
          .pid = static_cast<std::uint32_t>(who.pid.value_or(0)),
          .executable = printable(who.executable.value().value_or("")),
          .unit = printable(who.unit.value().value_or("")),
          .container = printable(who.container.value().value_or("")),
          .pod = printable(who.pod.value().value_or("")),
          .tpm_namespace = printable(who.tpm_namespace.value().value_or("")),
          .listener = printable(identity.entrance.listener),
          .profile = printable(identity.permissions->profile().name),
          .chip = printable(who.chip.value_or(""))};
}

proto::RefusedCommand entry_of_refusal(const explain::Refusal& refusal) {
  return {.ago = nanoseconds_since(refusal.at),
          .command = refusal.command,
          .code = refusal.code,
          .reason = printable(refusal.reason)};
}

}  // namespace

proto::Status Reports::status(Connection& from, std::size_t chip, const engine::SessionList* list) const {
  proto::Status out;
  host::TpmHost& host = chips_.host(chip);
  const bool whole = rights_.administers(from);
  space::Holder asks = from.identity().holder();
  if (from.identity().is_guest()) asks.part.connection = from.id();
  if (whole)
    host.fill(out);
  else
    host.fill_for(asks, list, out);
  out.server_version = kServerName;
  out.tpm_chip = chips_.name(from.identity().chip);
  if (whole) out.tpm_all_chips = chips_.names(" ");
  if (whole) out.tpm_lost_chips = chips_.names_of_lost(" ");
  out.server_pid = static_cast<std::uint64_t>(::getpid());
  out.server_uptime = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - started_).count());
  out.limits_connections = limits_.connections;
  out.limits_objects_per_space = limits_.objects;
  out.limits_sessions_per_space = limits_.sessions;
  out.limits_bytes = limits_.bytes;
  out.connections_now = whole                        ? clients_.places().total()
                        : from.identity().is_guest() ? 1
                                                     : clients_.places().total_of(from.identity().owner);
  out.connections_ever = whole ? clients_.ever() : 0;
  out.connections_refused = whole ? clients_.refused_ever() : 0;
  out.log_lost = whole ? log_.lost() : 0;
  out.audit_lost = whole ? audit_.lost() : 0;
  out.audit_held_back = whole ? audit_.held_back() : audit_.held_back_of(from.identity().owner.value);
  if (whole) out.audit_most_held_back = audit_.most_held_back();
  return out;
}

proto::ClientEntry Reports::entry_of(host::ClientId id) const {
  const Client& client = *clients_.find(id);
  Connection& connection = *client.connection;
  (void)rights_.of(connection);  // by the current policy
  proto::ClientEntry out;
  out.connection = id;
  out.who = who_of(connection.identity());
  out.age = nanoseconds_since(connection.since());
  out.commands = client.use.commands;
  out.tpm_time = client.use.tpm_time;
  if (client.use.submitted) {
    out.waiting = nanoseconds_since(*client.use.submitted);
    if (const auto* row = rights_.host_of(connection).table().find(client.use.command)) out.waits_for = row->name;
  }
  out.objects = client.use.held.objects;
  out.sessions = client.use.held.sessions;
  if (client.use.refusal) out.refusal = entry_of_refusal(*client.use.refusal);
  return out;
}

proto::Clients Reports::page(Connection& from, host::ClientId after) const {
  const ClientIndex& index = clients_.index();
  const auto& visible = rights_.administers(from) ? index.all() : index.of_user(from.identity().holder());
  proto::Clients out;
  out.total = static_cast<std::uint32_t>(visible.size());
  for (const host::ClientId id : page_of(visible, after, proto::kMaxClients)) out.clients.push_back(entry_of(id));
  return out;
}

// The newest connection of the process that the asking client may see; null: none.
Connection* Reports::connection_of_process(Connection& from, std::int32_t pid) const {
  constexpr int kMostLookedAt = 64;  // connections of one process are mostly one user's
  const auto& connections = clients_.index().of_process(pid);
  const bool all = rights_.administers(from);
  int looked_at = 0;
  for (auto id = connections.rbegin(); id != connections.rend() && looked_at < kMostLookedAt; ++id, ++looked_at) {
    Connection& one = *clients_.find(*id)->connection;
    if (all || &one == &from) return &one;
    if (!from.identity().is_guest() && from.identity().holder().covers(one.identity().holder())) return &one;
  }
  return nullptr;
}

std::optional<proto::WhoReport> Reports::who(Connection& from, const proto::WhoQuestion& what) const {
  const bool is_itself = what.pid == 0;
  Connection* about = is_itself ? &from : connection_of_process(from, static_cast<std::int32_t>(what.pid));
  if (about == nullptr) return std::nullopt;
  const access::Permissions& rights = rights_.of(*about);
  const access::ClientIdentity& identity = about->identity();
  proto::WhoReport out;
  out.connection = about->id();
  out.who = who_of(identity);
  out.connections = identity.who.pid ? static_cast<std::uint32_t>(clients_.index().of_process(*identity.who.pid).size())
                                     : std::uint32_t{1};
  out.administers = rights.profile().administer;
  out.reasons = reasons_of(identity, rights);
  if (const explain::Refusal* last =
          is_itself && !identity.is_guest()
              ? clients_.last_refusals().of(identity.holder(), std::chrono::steady_clock::now())
              : clients_.of(*about).use.refusal.get())
    out.refusal = entry_of_refusal(*last);
  if (!what.words.empty()) judge_words(*about, what.words, out);
  return out;
}

std::vector<std::string> Reports::reasons_of(const access::ClientIdentity& identity,
                                             const access::Permissions& rights) const {
  const auto& name = identity.who.tpm_namespace.value();
  const auto* home = name ? access_.policy.namespace_named(*name) : nullptr;
  std::vector<std::string> out;
  for (auto& reason : explain::reasons_of(rights.choice, access_, home, identity.entrance, config_file_))
    out.push_back(printable(std::move(reason)));
  if (rights.choice.in_doubt)
    out.emplace_back("what is unknown of it decides, so it gets the least of what it could be");
  if (auto why = explain::why_no_administrator(identity.who, rights.choice, access_.policy, home))
    out.push_back(printable(*std::move(why)));
  if (identity.narrowed) out.emplace_back("the connection has given rights away since");
  if (!identity.openers.empty())
    out.emplace_back("it joined the connection of its parent process, and may do no more than that one");
  return out;
}

void Reports::judge_words(const Connection& about, const std::vector<std::string>& words, proto::WhoReport& out) const {
  const access::ClientIdentity& identity = about.identity();
  const auto explanation = explain::explain_choice(identity.permissions->choice, identity.entrance.locality.value_or(0),
                                                   words, rights_.host_of(about).table());
  using Outcome = proto::WhoReport::Outcome;
  if (!explanation) {
    out.outcome = Outcome::kCannotBeSaid;
    out.text = explanation.error();
    return;
  }
  out.outcome = explanation->succeeds() ? Outcome::kAllowed : Outcome::kRefused;
  out.text = explain::verdict_text(*explanation);
}

}  // namespace tpmspace::daemon
