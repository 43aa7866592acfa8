// The daemon's wiring: listeners, access_control, connections, the TPMs' hosts, signals, the service manager.
//
// Idea: one event loop runs every method. The life of a daemon: the TPMs are brought up; the sockets appear and READY
// is sent; clients come and go. After TERM the daemon accepts no clients and reads no input, the commands at the TPMs
// end, the TPMs are emptied, the loop ends.
//
// Threads: one; the TPMs' threads are hidden in TpmHost. Errors: sentences in the log and exit code 1.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/limits.h"
#include "config/config.h"
#include "daemon/access_control.h"
#include "daemon/arrivals.h"
#include "daemon/client_index.h"
#include "daemon/client_limits.h"
#include "daemon/connection.h"
#include "daemon/listeners.h"
#include "daemon/rereading.h"
#include "daemon/shared_tokens.h"
#include "daemon/turns.h"
#include "explain/last_refusals.h"
#include "host/chips.h"
#include "host/sleep_watch.h"
#include "host/tpm_host.h"
#include "log/audit_log.h"
#include "log/log.h"
#include "log/service_manager.h"
#include "loop/event_loop.h"

namespace tpmspace::daemon {

class Server final : private Connection::Host {
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
  Server(log::Log& log, log::AuditLog audit, Terms terms, loop::ListeningSocket main_listener,
         std::vector<host::Chips::Source> sources);

  // Claims the path of each configured listener. Before `run`.
  [[nodiscard]] tl::expected<void, std::string> claim_listeners();
  // Runs until the daemon's end; returns the exit code.
  [[nodiscard]] int run();

 private:
  // A client's activity, for reports.
  struct Use {
    std::uint64_t commands = 0;  // commands sent
    std::uint64_t tpm_time = 0;  // nanoseconds
    std::optional<std::chrono::steady_clock::time_point> submitted =
        {};                                          // start of the command under way; nullopt: none
    wire::CommandCode command = 0;                   // code of the command under way
    observe::Held held = {};                         // after its last command
    std::unique_ptr<explain::Refusal> refusal = {};  // the last refusal; null: none
    bool is_noted = false;  // the reason of the refusal that `answered_early` will report is recorded already
  };
  struct Client {
    std::unique_ptr<Connection> connection;
    std::optional<ClientLimits::Place> place;    // none: above a limit, to be answered and closed
    std::optional<Listeners::Visit> visit;       // none: above a limit
    std::optional<proto::SessionOrder> order;    // order under way
    std::optional<observe::AuditRecord> change;  // the client's command under way affects all users
    // About the list of sessions that the client waits for.
    bool wants_status = false;   // only the numbers are wanted
    bool tells_tenants = false;  // the client was an administrator when it asked
    Use use = {};

    // A refused client's commands are not run: the main TPM's table will do.
    [[nodiscard]] std::size_t spoken_to() const { return place ? connection->identity().chip : 0; }
  };

  // The division of the system's descriptors.
  struct Descriptors {
    std::uint32_t clients = 0;  // 0: no limit
    std::size_t refused = limits::kRefusedAtATime;
    std::size_t arrivals = limits::kArrivals;
    unsigned unread = limits::kUnreadProcesses;
  };
  // `own`: the daemon's own open descriptors.
  [[nodiscard]] static Descriptors divide_descriptors(std::uint32_t own);

  // --- TPMs ---
  void let_clients_in();
  void on_main_failed();
  void tell_state();
  // From now on commands for the TPM are parsed with its new table.
  void on_replaced(std::size_t chip);
  void on_answer(host::ClientId client, wire::ByteView response);
  void on_order_done(host::ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions);
  void on_listed(std::size_t chip, host::ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list);
  void on_over();
  // --- Clients ---
  void on_arrival(Arrival client);
  // The code for a client that is answered once and closed; nullopt: the client is admitted.
  [[nodiscard]] std::optional<wire::Rc> refusal_of(const ClientIdentity& identity, ClientLimits::Verdict verdict,
                                                   bool is_kept);
  [[nodiscard]] bool is_hopeless(const ucred& peer, const guard::Entrance& entrance, std::size_t waiting);
  // Whether there is a place for a client: as far as its uid tells, behind `more` clients of the same user; and by its
  // identity.
  [[nodiscard]] ClientLimits::Verdict judge(const ucred& peer, const guard::Entrance& entrance, std::size_t more = 0);
  [[nodiscard]] ClientLimits::Verdict judge(const ClientIdentity& identity) const;
  // One of the places kept for administrators is available to the peer.
  [[nodiscard]] bool has_kept_place_for(const ucred& peer, const guard::Entrance& entrance) const;
  void say_refused(const ClientIdentity& identity, ClientLimits::Verdict verdict);
  void say_in_doubt(const ClientIdentity& identity);
  void drop_slow_refused();
  void reap_closed();
  // --- Signals ---
  void on_stop_signal();
  void on_read_again(Rereading::Result read, const std::vector<host::ClientId>& for_whom);
  void begin_stop();

  // --- Connection::Host: server_requests.cc ---
  std::optional<wire::Rc> submit(Connection& from, wire::Command command, std::uint8_t locality) override;
  std::optional<proto::Reply> handle(Connection& from, const proto::Request& request) override;
  void answered_early(Connection& from, wire::Rc code) override;
  void cut_off(Connection& from, const std::string& why) override;
  void over(Connection& from) override;  // server.cc

  void on_account(std::size_t chip, const observe::Account& account);
  // Records a refusal below the access_control, with a sentence.
  void audit_refusal(const observe::Account& account, observe::AuditEvent event, std::string reason);
  void learn_held(const observe::Account& account);
  // A session was reclaimed at that TPM.
  void audit_reclaimed(std::size_t chip, const observe::Reclaimed& session);
  // Records the response to a command that affects all users; nullopt: the client left before the response.
  void audit_change(Client& of, std::optional<wire::Rc> code);
  // Records the end of the client's order, if any: as in sentence_of_end.
  void audit_order(const Connection& of, wire::Rc code, const std::optional<std::size_t>& sessions);
  // The asking client is no administrator.
  wire::Rc refuse(const Connection& from, std::string reason);
  // An owner in words.
  [[nodiscard]] std::string describe(const space::Holder& who) const;
  [[nodiscard]] std::string describe(const proto::ListenerEntry& made) const;
  [[nodiscard]] host::TpmHost& host_of(const Connection& client) { return chips_.host(client.identity().chip); }
  [[nodiscard]] const host::TpmHost& host_of(const Connection& client) const {
    return chips_.host(client.identity().chip);
  }
  // The record of a command that affects all users, before the command is sent.
  [[nodiscard]] observe::AuditRecord record_of_change(Connection& from, const wire::Command& command);
  // A record with the known attributes of the client.
  [[nodiscard]] static observe::AuditRecord record_of(observe::AuditEvent event, const Connection& from);
  // A sentence about a reference to a TPM that is not served as configured; nullopt: none.
  [[nodiscard]] std::optional<std::string> not_served(const guard::Access& access) const;
  // By the current policy.
  [[nodiscard]] const Permissions& rights_of(Connection& from);
  // `list`: the client's own sessions, if the client is no administrator.
  [[nodiscard]] proto::Status status_of(Connection& from, host::TpmHost& host, const engine::SessionList* list);
  std::optional<wire::Rc> ask_host_for_sessions(Connection& from, bool only_own);
  [[nodiscard]] bool is_administrator(Connection& from) { return rights_of(from).profile().administer; }

  // --- Requests ---
  bool may_have_locality(Connection& from, std::uint8_t locality);
  std::optional<wire::Rc> narrow(Connection& from, const std::string& profile);
  proto::HelloReply hello();
  std::optional<proto::Status> status(Connection& from);
  std::optional<wire::Rc> ask_for_sessions(Connection& from);
  std::optional<wire::Rc> order(Connection& from, const proto::SessionOrder& what);
  std::optional<wire::Rc> reload(Connection& from);
  tl::expected<std::vector<proto::ListenerEntry>, wire::Rc> listeners(Connection& from);
  tl::expected<proto::Outcome, wire::Rc> change_listener(Connection& from, const proto::ListenerOrder& what);
  tl::expected<std::string, wire::Rc> learn(Connection& from, const std::string& name);
  std::optional<wire::Rc> use_chip(Connection& from, const std::string& name);
  tl::expected<proto::Clients, wire::Rc> clients(Connection& from, std::uint64_t after);  // server_clients.cc
  tl::expected<proto::WhoReport, wire::Rc> who(Connection& from, const proto::WhoQuestion& what);
  std::optional<wire::Rc> share(Connection& from, const proto::Token& token);
  std::optional<wire::Rc> join(Connection& from, const proto::Join& what);

  // --- Reports about clients: server_clients.cc ---
  // "TPM2_Sign", by the client's TPM; empty: the TPM has no such command.
  [[nodiscard]] std::string name_of(const Connection& client, wire::CommandCode code) const;
  void note_refusal(Client& client, std::string command, wire::Rc code, std::string reason);
  void count_account(const observe::Account& account);
  [[nodiscard]] proto::ClientEntry entry_of_client(host::ClientId id);
  [[nodiscard]] Connection* connection_of_process(Connection& from, std::int32_t pid);
  void judge_words(Connection& about, const std::vector<std::string>& words, proto::WhoReport& out);

  // The path of the listener to make.
  [[nodiscard]] std::string path_of(const proto::ListenerEntry& entry) const;
  tl::expected<void, std::string> add_listener(const proto::ListenerEntry& entry);

  // Constant.
  log::Log& log_;
  const config::Limits limits_;
  const std::string config_file_;
  const uid_t own_uid_ = ::geteuid() == guard::kOverflowUid ? 0 : ::geteuid();  // root's as well: root administers, too
  const Descriptors descriptors_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();

  loop::EventLoop loop_;
  log::ServiceManager manager_;
  log::AuditLog audit_;
  guard::Access access_;
  AccessControl access_control_;
  Rereading rereading_;
  ClientLimits places_;
  Arrivals arrivals_;
  SharedTokens tokens_;
  Listeners listeners_;
  std::unordered_map<host::ClientId, Client> clients_;
  ClientIndex index_;  // of the clients with a place
  explain::LastRefusals last_refusals_;
  host::ClientId last_client_ = 0;
  std::uint64_t refused_ever_ = 0;
  std::size_t refused_now_ = 0;
  Turns turns_;               // of connections with frames to handle
  std::vector<Client> dead_;  // to be destroyed outside their own callbacks
  log::RateLimit refused_lines_;
  log::RateLimit doubt_lines_;
  log::RateLimit cut_off_lines_;
  bool stopping_ = false;
  int exit_code_ = 0;

  loop::Deferred reaping_;
  loop::Timer refused_timer_;
  loop::Timer audit_timer_;
  host::Chips chips_;
  host::SleepWatch sleep_;
};

}  // namespace tpmspace::daemon
