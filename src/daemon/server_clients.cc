// Reports about clients: `tpmspace clients`, `tpmspace whoami`, `policy explain --as pid=N`.
//
// Reports use only the event loop's knowledge: no TPM is asked, so a report is made at once even while the TPM works
// for ten seconds. A user sees their own clients, an administrator sees all clients.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "daemon/refusal_codes.h"
#include "daemon/server.h"
#include "explain/explain.h"

namespace tpmspace::daemon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr wire::Rc kNoSuchProcess = wire::from_manager(wire::rc::kValue);

std::uint64_t nanoseconds_since(Clock::time_point then) {
  const auto span = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - then).count();
  return span > 0 ? static_cast<std::uint64_t>(span) : 0;
}

// Clients choose some of these texts, and terminals show them.
std::string told(std::string text) {
  if (text.size() > proto::kMaxText) text.resize(proto::kMaxText);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

proto::Who who_of(const ClientIdentity& identity) {
  const guard::Principal& who = identity.who;
  return {.uid = who.uid,
          .pid = static_cast<std::uint32_t>(who.pid.value_or(0)),
          .executable = told(who.executable.value().value_or("")),
          .unit = told(who.unit.value().value_or("")),
          .container = told(who.container.value().value_or("")),
          .pod = told(who.pod.value().value_or("")),
          .tpm_namespace = told(who.tpm_namespace.value().value_or("")),
          .listener = told(identity.entrance.listener),
          .profile = told(identity.permissions->profile().name),
          .chip = told(who.chip.value_or(""))};
}

proto::RefusedCommand entry_of(const explain::Refusal& refusal) {
  return {.ago = nanoseconds_since(refusal.at),
          .command = refusal.command,
          .code = refusal.code,
          .reason = told(refusal.reason)};
}

bool is_ours(wire::Rc code) {
  return wire::layer_of(code) == wire::layer_of(wire::kManagerLayer);
}

}  // namespace

// --- Counting

std::string Server::name_of(const Connection& client, wire::CommandCode code) const {
  const auto* row = host_of(client).table().find(code);
  return row == nullptr ? "" : std::string(row->name);
}

void Server::note_refusal(Client& client, std::string command, wire::Rc code, std::string reason) {
  // The client's own wish, not a refusal.
  if (!is_ours(code) || code == wire::from_manager(wire::rc::kCanceled)) return;
  const explain::Refusal refusal{
      .at = Clock::now(), .command = std::move(command), .code = code, .reason = std::move(reason)};
  client.use.refusal = std::make_unique<explain::Refusal>(refusal);
  last_refusals_.note(client.connection->identity().holder(), refusal);
}

void Server::count_account(const observe::Account& account) {
  const auto found = clients_.find(account.connection);
  if (found == clients_.end()) return;
  Client& client = found->second;
  client.use.tpm_time += account.tpm_nanoseconds();
  if (account.held) client.use.held = *account.held;
  if (account.client_code == 0 || !is_ours(account.rc)) return;
  const auto reason = [&] {
    if (account.stopped_for_lockout)
      return explain::sentence_of_lockout(account.stopped_by_own_share, account.lockout_interval);
    if (account.kept_from_pin) return std::string(explain::kKeptFromPin);
    return std::string(observe::is_known_crash(account) ? explain::kKnownCrash : explain::reason_of(account.rc));
  };
  note_refusal(client, name_of(*client.connection, account.client_code), account.rc, reason());
}

// --- Telling

proto::ClientEntry Server::entry_of_client(host::ClientId id) {
  const Client& client = clients_.at(id);
  Connection& connection = *client.connection;
  (void)rights_of(connection);  // by the current policy
  proto::ClientEntry out;
  out.connection = id;
  out.who = who_of(connection.identity());
  out.age = nanoseconds_since(connection.since());
  out.commands = client.use.commands;
  out.tpm_time = client.use.tpm_time;
  if (client.use.submitted) {
    out.waiting = nanoseconds_since(*client.use.submitted);
    out.waits_for = name_of(connection, client.use.command);
  }
  out.objects = client.use.held.objects;
  out.sessions = client.use.held.sessions;
  if (client.use.refusal) out.refusal = entry_of(*client.use.refusal);
  return out;
}

tl::expected<proto::Clients, wire::Rc> Server::clients(Connection& from, std::uint64_t after) {
  const bool all = is_administrator(from);
  if (!all && from.identity().is_guest()) return tl::make_unexpected(kNotAllowed);
  const auto& visible = all ? index_.all() : index_.of_user(from.identity().holder());
  proto::Clients out;
  out.total = static_cast<std::uint32_t>(visible.size());
  for (const host::ClientId id : page_of(visible, after, proto::kMaxClients))
    out.clients.push_back(entry_of_client(id));
  return out;
}

// The newest connection of the process that the asking client may see; null: none.
Connection* Server::connection_of_process(Connection& from, std::int32_t pid) {
  constexpr int kMostLookedAt = 64;  // connections of one process are mostly one user's
  const auto& connections = index_.of_process(pid);
  const bool all = is_administrator(from);
  int looked_at = 0;
  for (auto id = connections.rbegin(); id != connections.rend() && looked_at < kMostLookedAt; ++id, ++looked_at) {
    Connection& one = *clients_.at(*id).connection;
    if (all || &one == &from) return &one;
    if (!from.identity().is_guest() && from.identity().holder().covers(one.identity().holder())) return &one;
  }
  return nullptr;
}

tl::expected<proto::WhoReport, wire::Rc> Server::who(Connection& from, const proto::WhoQuestion& what) {
  const bool is_itself = what.pid == 0;
  Connection* about = is_itself ? &from : connection_of_process(from, static_cast<std::int32_t>(what.pid));
  if (about == nullptr) return tl::make_unexpected(kNoSuchProcess);
  const Permissions& rights = rights_of(*about);
  const ClientIdentity& identity = about->identity();
  const auto& name = identity.who.tpm_namespace.value();
  const auto* home = name ? access_.policy.namespace_named(*name) : nullptr;
  proto::WhoReport out;
  out.connection = about->id();
  out.who = who_of(identity);
  out.connections =
      identity.who.pid ? static_cast<std::uint32_t>(index_.of_process(*identity.who.pid).size()) : std::uint32_t{1};
  out.administers = rights.profile().administer;
  for (auto& reason : explain::reasons_of(rights.choice, access_, home, identity.entrance, config_file_))
    out.reasons.push_back(told(std::move(reason)));
  if (rights.choice.in_doubt)
    out.reasons.emplace_back("what is unknown of it decides, so it gets the least of what it could be");
  if (auto why = explain::why_no_administrator(identity.who, rights.choice, access_.policy, home))
    out.reasons.push_back(told(*std::move(why)));
  if (identity.narrowed) out.reasons.emplace_back("the connection has given rights away since");
  if (!identity.openers.empty())
    out.reasons.emplace_back("it joined the connection of its parent process, and may do no more than that one");
  const Client& client = clients_.at(about->id());
  if (const explain::Refusal* last = is_itself && !identity.is_guest()
                                         ? last_refusals_.of(identity.holder(), Clock::now())
                                         : client.use.refusal.get())
    out.refusal = entry_of(*last);
  if (!what.words.empty()) judge_words(*about, what.words, out);
  return out;
}

void Server::judge_words(Connection& about, const std::vector<std::string>& words, proto::WhoReport& out) {
  const ClientIdentity& identity = about.identity();
  const auto explanation = explain::explain_choice(identity.permissions->choice, identity.entrance.locality.value_or(0),
                                                   words, host_of(about).table());
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
