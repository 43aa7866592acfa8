// The event loop's host for one TPM: passes clients' commands to the TPM's thread and responses back.
//
// Idea: the host handles a command between its acceptance and its response: which client waits for which job,
// cancellation, the deadline, the state of the chip, and the counters.
// If a TPM misses its deadline, the TPM is *lost*: all waiting commands and all new commands fail with FAILURE from our
// layer until the thread has returned and has dropped its commands; then the chip is *found* again.
// If a TPM's back end is closed, the TPM is *gone*: all commands fail likewise, and another thread opens the TPM again,
// repeatedly (RetryPace), and at once when the TPM's socket appears anew (SocketWatch). The returning TPM may be a
// different TPM, so no state of the former is kept: clients have empty spaces, as after a reset. A TPM that could not
// be opened at first is retried in the same way, unless `failed` stops the host.
// Threads: belongs to the event loop. Errors: a command that cannot be taken is refused with a response code. Limits:
// `queue` commands and lists at a time, shared by owners (books/shared_room.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "books/shared_room.h"
#include "host/retry_pace.h"
#include "host/status_counters.h"
#include "host/tpm_thread.h"
#include "host/watchdog.h"
#include "log/log.h"
#include "loop/event_loop.h"
#include "loop/socket_watch.h"
#include "proto/sessions.h"

namespace tpmspace::host {

class TpmHost {
 public:
  struct Callbacks {
    // The TPM serves, for the first time or again. After a return the TPM may be a different TPM: `table` and `chip`
    // are new, and the former table ends with this call.
    std::function<void()> ready;
    // The TPM could not be opened, and is retried if a retry can help.
    std::function<void(const std::string& why)> failed;
    // The client's command is done. The callback may submit the client's next command.
    std::function<void(ClientId client, wire::ByteView response)> answered;
    // The client's order about sessions is done, or has failed with the code.
    std::function<void(ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions)>
        order_done;
    // The list that the client asked for, or the code of its failure.
    std::function<void(ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list)> listed;
    // After `prepare_for_sleep`: the TPM's contents are saved as far as possible.
    std::function<void()> away;
    // After `stop`.
    std::function<void()> stopped;
    // Called when the TPM stops responding (true) or resumes as the same TPM (false).
    std::function<void(bool lost)> lost_or_found;
    // The account of a step.
    std::function<void(const observe::Account& account)> accounted;
  };
  struct Terms {
    engine::Config engine;
    std::uint32_t queue = limits::kQueue;
    RetryPace::Limits retry = {};
  };

  TpmHost(loop::EventLoop& loop, log::Log& log, TpmSource source, const Terms& terms, Callbacks callbacks);

  // Precondition: `ready` was called.
  [[nodiscard]] const wire::CommandTable& table() const { return *table_; }
  [[nodiscard]] const ChipReport& chip() const { return chip_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  // Precondition: the client has no command here. The first command opens the client's space, with these limits.
  // `number`: the sequence number among the client's commands.
  [[nodiscard]] std::optional<wire::Rc> submit(ClientId client, const space::Holder& who,
                                               const space::SpaceLimits& limits, wire::Command command,
                                               std::uint8_t locality, std::uint64_t number);
  // Opens the client's space with the contents of the space of `from` (engine::Engine::inherit); `answered` will be
  // called. Precondition: the client has submitted no command, and has the same owner.
  [[nodiscard]] std::optional<wire::Rc> inherit(ClientId client, const space::Holder& who,
                                                const space::SpaceLimits& limits, ClientId from, std::uint64_t known);
  // For the following commands. A client without a space gets one with its first command. False: too many orders of the
  // client's owner wait.
  bool set_limits(ClientId client, const space::SpaceLimits& limits);
  void cancel(ClientId client);
  // The client is gone: its command is abandoned, its space ends.
  void close(ClientId client);
  // Returns a code if the order is refused. Else `order_done` will be called, unless the client is closed before.
  [[nodiscard]] std::optional<wire::Rc> order(ClientId client, engine::SessionOrder what);
  // Returns a code if the request is refused. Else `listed` will be called, unless the client is closed before.
  // `only_own`: the list has only entries visible to the holder, else all entries. The list takes its turn in the
  // queue, like a command of the client; but no client waits long for a command that is at the TPM. Precondition: the
  // client waits for no other list.
  [[nodiscard]] std::optional<wire::Rc> ask_for_sessions(ClientId client, const space::Holder& who,
                                                         const space::SpaceLimits& limits, bool only_own);
  void answered_early(wire::Rc code) { counters_.add_early_answer(code); }

  // The machine is about to sleep. False: no contents to save.
  bool prepare_for_sleep();
  void wake_up();

  // Ends the thread: the command at the TPM has limits::kStopGrace to end by itself, then it is cancelled, then the
  // thread leaves the TPM. Afterwards the loop calls `stopped`, and never `failed` again.
  void stop();

  void fill(proto::Status& status);
  // Fills the public fields and the holder's own numbers: its owner's waiting or running commands, and its sessions, if
  // a list is given.
  void fill_for(const space::Holder& who, const engine::SessionList* list, proto::Status& status);
  // The list as the protocol sends it. `tenant_of`: the tenant of an owner, for a client that may know.
  using TenantOf = std::function<proto::Tenant(space::OwnerId)>;
  [[nodiscard]] static proto::Sessions told(const engine::SessionList& list, const TenantOf& tenant_of);

 private:
  struct Job {
    ClientId client = 0;
    space::OwnerId owner;
    space::Payer payer;
    bool cancelled = false;  // a repeated cancellation causes no more work
  };
  struct Client {
    space::OwnerId owner;
    space::Payer payer;
    JobId job = 0;  // 0: none
  };

  // The state of the TPM's thread.
  enum class State : std::uint8_t {
    kOpening,  // the thread opens the TPM
    kServing,
    kLeaving,  // the TPM is gone, and the thread ends
    kAbsent,   // no thread exists
  };

  // A new job of the client, which has a space from now on; or the code of the refusal.
  [[nodiscard]] tl::expected<JobId, wire::Rc> begin_job(ClientId client, const space::Holder& who,
                                                        const space::SpaceLimits& limits);
  void take_events();
  void handle(TpmThread::Ready& event);
  void handle(TpmThread::Failed& event);
  void handle(TpmThread::Stepped& event);
  void handle(TpmThread::Taken&) {}
  void handle(TpmThread::Away&) { callbacks_.away(); }
  void handle(TpmThread::Drained& event);
  void handle(TpmThread::Stopped& event);
  void report_restart(const observe::Account& account);
  void report_broken_invariants(const observe::Account& account);
  void deliver(const TpmThread::Answer& answer);
  void deliver(const engine::OrderDone& done);
  void deliver(const engine::SessionsAnswer& answer);

  void fill_chip(proto::Status& status) const;
  void look_at_deadline();
  void lose_chip(const engine::Gate::Running& running);
  void leave_chip();
  void fail_orders();
  void fail_queries();
  struct Query {
    ClientId client = 0;  // 0: the client is gone
    space::Payer payer;
    std::optional<space::Holder> only;
  };
  void answer_queries_meanwhile();
  [[nodiscard]] ClientId take_asker(std::uint64_t id, Query& query);
  void end_thread();
  void open_again();
  void on_socket();
  // Removes the job from the host; returns the job's client.
  ClientId finish(JobId job);
  // Responds without the thread. Delivered later: the client may be in the middle of a call.
  void answer_early(JobId job, wire::Rc code);
  void deliver_early();
  void ask_to_give_up(JobId job);
  void ask_again();
  void escalate_stop();

  // Constant.
  log::Log& log_;
  const std::string name_;
  TpmSource source_;
  Terms terms_;
  Callbacks callbacks_;

  State state_ = State::kOpening;
  ChipReport chip_;
  std::shared_ptr<const wire::CommandTable> table_;  // null: not ready yet
  space::SharedRoom queue_;
  std::unordered_map<JobId, Job> jobs_;
  std::unordered_map<ClientId, Client> clients_;      // the clients known to the thread
  std::unordered_set<JobId> cancels_;                 // cancellations to repeat; clients may be gone
  std::vector<std::pair<ClientId, wire::Rc>> early_;  // responses to deliver
  JobId last_job_ = 0;
  std::map<std::uint64_t, ClientId> orders_under_way_;  // the thread's orders; 0: the client is gone
  std::uint64_t last_order_ = 0;
  std::map<std::uint64_t, Query> queries_;                 // the thread's queries
  std::set<std::pair<ClientId, std::uint64_t>> asked_by_;  // the queries of queries_ whose client is present
  std::uint64_t last_query_ = 0;
  bool lost_ = false;
  enum class Stopping : std::uint8_t { kNo, kWaiting, kCancelled, kLeft };
  Stopping stopping_ = Stopping::kNo;
  Watchdog watchdog_;
  StatusCounters counters_;
  RetryPace pace_;
  log::RateLimit reset_lines_;
  bool reported_broken_ = false;
  TpmThread::Events events_;

  // Last: destroyed first, and no callback comes after the sources.
  std::unique_ptr<TpmThread> thread_;  // never null; for an absent TPM, the ended thread
  loop::Watch events_watch_;
  loop::Timer deadline_timer_;
  loop::Timer cancel_timer_;
  loop::Timer retry_timer_;
  loop::SocketWatch socket_watch_;
  loop::Deferred early_turn_;
  loop::Deferred stopped_turn_;
  loop::Timer stop_timer_;
};

}  // namespace tpmspace::host
