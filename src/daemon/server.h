// The daemon's wiring: listeners, access_control, connections, the TPMs' hosts, signals, the service manager.
//
// Idea: one event loop; every method runs in it. The life of a daemon is: the TPMs are brought up; the sockets appear
// and READY is said; clients come and go; TERM: no new clients, nothing more is read, the commands at the TPMs end, the
// TPMs are emptied, the loop ends.
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
#include "base/round_robin.h"
#include "config/config.h"
#include "daemon/access_control.h"
#include "daemon/arrivals.h"
#include "daemon/client_index.h"
#include "daemon/client_limits.h"
#include "daemon/connection.h"
#include "daemon/listeners.h"
#include "daemon/rereading.h"
#include "daemon/shared_tokens.h"
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
    // The configuration, read again.
    // By another thread, so it uses nothing that is not its own.
    Rereading::Reader reread;
    std::string config_file;  // where the rules are written
  };
  // Precondition: SIGTERM, SIGINT and SIGHUP are blocked.
  Server(log::Log& log, log::AuditLog audit, Terms terms, loop::ListeningSocket main_listener,
         std::vector<host::Chips::Source> sources);

  // A place for each listener of the configuration. Before `run`.
  [[nodiscard]] tl::expected<void, std::string> claim_listeners();
  // Until the daemon's end; the exit code.
  [[nodiscard]] int run();

 private:
  // What a client did, for those who look.
  struct Use {
    std::uint64_t commands = 0;  // that it sent
    std::uint64_t tpm_time = 0;  // nanoseconds
    std::optional<std::chrono::steady_clock::time_point> submitted =
        {};                                          // the command that is under way; nullopt: none
    wire::CommandCode command = 0;                   // its code
    observe::Held held = {};                         // after its last command
    std::unique_ptr<explain::Refusal> refusal = {};  // the last one; null: none
    bool is_noted = false;  // why the command is refused that `answered_early` is about to be told of
  };
  struct Client {
    std::unique_ptr<Connection> connection;
    std::optional<ClientLimits::Place> place;    // none: above a limit, to be answered and closed
    std::optional<Listeners::Visit> visit;       // likewise
    std::optional<proto::SessionOrder> order;    // under way
    std::optional<observe::AuditRecord> change;  // its command under way affects all users
    // Of a list of sessions that it waits for.
    bool wants_status = false;   // only the numbers
    bool tells_tenants = false;  // it was an administrator when it asked
    Use use = {};

    // Who is refused is not understood: the main one will do.
    [[nodiscard]] std::size_t spoken_to() const { return place ? connection->identity().chip : 0; }
  };

  // How the descriptors that the system gives are divided.
  struct Descriptors {
    std::uint32_t clients = 0;  // 0: no limit
    std::size_t refused = limits::kRefusedAtATime;
    std::size_t arrivals = limits::kArrivals;
    unsigned unread = limits::kUnreadProcesses;
  };
  // `own`: what the daemon itself has open.
  [[nodiscard]] static Descriptors divide_descriptors(std::uint32_t own);

  // --- TPMs ---
  void let_clients_in();
  void on_main_failed();
  void tell_state();
  // From now on commands for that TPM are parsed as it is now.
  void on_replaced(std::size_t chip);
  void on_answer(host::ClientId client, wire::ByteView response);
  void on_order_done(host::ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions);
  void on_listed(std::size_t chip, host::ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list);
  void on_over();
  // --- Clients ---
  void on_arrival(Arrival client);
  // Why a client is answered once and sent away; nullopt: it is welcome.
  [[nodiscard]] std::optional<wire::Rc> refusal_of(const ClientIdentity& identity, ClientLimits::Verdict verdict,
                                                   bool is_kept);
  [[nodiscard]] bool is_hopeless(const ucred& peer, const guard::Entrance& entrance, std::size_t waiting);
  // Whether there is a place for a client: as far as its uid tells, behind `more` of the same user; and by its
  // identity.
  [[nodiscard]] ClientLimits::Verdict judge(const ucred& peer, const guard::Entrance& entrance, std::size_t more = 0);
  [[nodiscard]] ClientLimits::Verdict judge(const ClientIdentity& identity) const;
  // One of those places is his that nobody else gets.
  [[nodiscard]] bool has_kept_place_for(const ucred& peer, const guard::Entrance& entrance) const;
  void say_refused(const ClientIdentity& identity, ClientLimits::Verdict verdict);
  void say_in_doubt(const ClientIdentity& identity);
  void drop_slow_refused();
  void reap_closed();
  void take_turns();
  // --- Signals ---
  void on_stop_signal();
  void on_read_again(Rereading::Result read, const std::vector<host::ClientId>& for_whom);
  void begin_stop();

  // --- Connection::Host: server_requests.cc ---
  std::optional<wire::Rc> submit(Connection& from, wire::Command command, std::uint8_t locality) override;
  void cancel(Connection& from) override;
  bool may_have_locality(Connection& from, std::uint8_t locality) override;
  std::optional<wire::Rc> narrow(Connection& from, const std::string& profile) override;
  proto::HelloReply hello() override;
  std::optional<proto::Status> status(Connection& from) override;
  std::optional<wire::Rc> ask_for_sessions(Connection& from) override;
  std::optional<wire::Rc> order(Connection& from, const proto::SessionOrder& what) override;
  std::optional<wire::Rc> reload(Connection& from) override;
  tl::expected<std::vector<proto::ListenerEntry>, wire::Rc> listeners(Connection& from) override;
  tl::expected<proto::Outcome, wire::Rc> change_listener(Connection& from, const proto::ListenerOrder& what) override;
  tl::expected<std::string, wire::Rc> learn(Connection& from, const std::string& name) override;
  std::optional<wire::Rc> use_chip(Connection& from, const std::string& name) override;
  tl::expected<proto::Clients, wire::Rc> clients(Connection& from, std::uint64_t after) override;  // server_clients.cc
  tl::expected<proto::WhoReport, wire::Rc> who(Connection& from, const proto::WhoQuestion& what) override;
  std::optional<wire::Rc> share(Connection& from, const proto::Token& token) override;
  std::optional<wire::Rc> join(Connection& from, const proto::Join& what) override;
  void answered_early(Connection& from, wire::Rc code) override;
  void cut_off(Connection& from, const std::string& why) override;
  void again(Connection& from) override;  // these two: server.cc
  void over(Connection& from) override;

  void on_account(std::size_t chip, const observe::Account& account);
  // What was refused below the access_control, and why: a sentence.
  void audit_refusal(const observe::Account& account, observe::AuditEvent event, std::string reason);
  void learn_held(const observe::Account& account);
  // A session was taken at that TPM.
  void audit_reclaimed(std::size_t chip, const observe::Reclaimed& session);
  // The command that affects all users is answered so; nullopt: its client left before it was.
  void audit_change(Client& of, std::optional<wire::Rc> code);
  // Its order ended, if it has one: as sentence_of_end has it.
  void audit_order(const Connection& of, wire::Rc code, const std::optional<std::size_t>& sessions);
  // Who asked is no administrator.
  wire::Rc refuse(const Connection& from, std::string reason);
  // An owner in words.
  [[nodiscard]] std::string describe(const space::Holder& who) const;
  [[nodiscard]] std::string describe(const proto::ListenerEntry& made) const;
  [[nodiscard]] host::TpmHost& host_of(const Connection& client) { return chips_.host(client.identity().chip); }
  [[nodiscard]] const host::TpmHost& host_of(const Connection& client) const {
    return chips_.host(client.identity().chip);
  }
  // Of a command that affects all users, before it is sent.
  [[nodiscard]] observe::AuditRecord record_of_change(Connection& from, const wire::Command& command);
  // What is known of whoever did it.
  [[nodiscard]] static observe::AuditRecord record_of(observe::AuditEvent event, const Connection& from);
  // A sentence about what names a TPM that is not served as it says; nullopt: nothing does.
  [[nodiscard]] std::optional<std::string> not_served(const guard::Access& access) const;
  // By the policy of now.
  [[nodiscard]] const Permissions& rights_of(Connection& from);
  // `list`: of the client's own sessions, if it is no administrator.
  [[nodiscard]] proto::Status status_of(Connection& from, host::TpmHost& host, const engine::SessionList* list);
  std::optional<wire::Rc> ask_host_for_sessions(Connection& from, bool only_own);
  [[nodiscard]] bool is_administrator(Connection& from) { return rights_of(from).profile().administer; }

  // --- What is told of clients: server_clients.cc ---
  // "TPM2_Sign", as the client's TPM has it; empty: it has no such command.
  [[nodiscard]] std::string name_of(const Connection& client, wire::CommandCode code) const;
  void note_refusal(Client& client, std::string command, wire::Rc code, std::string reason);
  void count_account(const observe::Account& account);
  [[nodiscard]] proto::ClientEntry entry_of_client(host::ClientId id);
  [[nodiscard]] Connection* connection_of_process(Connection& from, std::int32_t pid);
  void judge_words(Connection& about, const std::vector<std::string>& words, proto::WhoReport& out);

  // Where it is to be.
  [[nodiscard]] std::string path_of(const proto::ListenerEntry& entry) const;
  tl::expected<void, std::string> add_listener(const proto::ListenerEntry& entry);

  // Constant.
  log::Log& log_;
  const config::Limits limits_;
  const std::string config_file_;
  const uid_t own_uid_ = ::geteuid() == guard::kOverflowUid ? 0 : ::geteuid();  // and root's, who administers, too
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
  ClientIndex index_;  // of those that have a place
  explain::LastRefusals last_refusals_;
  host::ClientId last_client_ = 0;
  std::uint64_t refused_ever_ = 0;
  std::size_t refused_now_ = 0;
  base::RoundRobin<space::OwnerId, host::ClientId> turns_;  // those who have something to handle
  std::vector<Client> dead_;                                // to be destroyed outside their own callbacks
  log::RateLimit refused_lines_;
  log::RateLimit doubt_lines_;
  log::RateLimit cut_off_lines_;
  bool stopping_ = false;
  int exit_code_ = 0;

  loop::Deferred again_turn_;
  loop::Deferred reaping_;
  loop::Timer refused_timer_;
  loop::Timer audit_timer_;
  host::Chips chips_;
  host::SleepWatch sleep_;
};

}  // namespace tpmspace::daemon
