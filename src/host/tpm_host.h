// The event loop's host for one TPM: takes clients' commands, hands them to the TPM's thread, hands answers back.
//
// Idea: everything about a command between its acceptance and its answer is here: which client waits for which job,
// cancelling, the deadline, the state of the chip, and the counters that all this feeds.
// A TPM that misses its deadline is *lost*: everybody who waits is answered FAILURE from our layer, and so is every new
// command, until the thread has come back and has dropped what was in it; then the chip is *found* again.
// A TPM whose back end is closed is *gone*: everybody is answered likewise, and it is opened anew by another thread,
// again and again (RetryPace), and at once when its socket appears anew (SocketWatch). What comes may be another TPM,
// so nothing of the former is left: clients have empty spaces, as after a reset. One that could not be opened at first
// is tried in the same way, unless `failed` stops it.
// Threads: belongs to the event loop. Errors: a command that cannot be taken is refused with a response code.
// Limits: `queue` commands and lists at a time, shared by owners (books/shared_room.h).
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
    // It serves, for the first time or again. Then it may be another one: `table` and `chip` are new, and the former
    // table ends with this call.
    std::function<void()> ready;
    // It could not be opened, and will be tried again if that can help.
    std::function<void(const std::string& why)> failed;
    // The client's command is done. The callback may submit the client's next one.
    std::function<void(ClientId client, wire::ByteView response)> answered;
    // The client's order about sessions is done, or it will not be, for that code.
    std::function<void(ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions)>
        order_done;
    // The list that the client asked for, or why it cannot be had.
    std::function<void(ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list)> listed;
    // After `prepare_for_sleep`: all is put away that can be.
    std::function<void()> away;
    // After `stop`.
    std::function<void()> stopped;
    // It does not answer any more; or it answers again, and is the same.
    std::function<void(bool lost)> lost_or_found;
    // What a step did.
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

  // Precondition: the client has no command here. With the first one its space is opened, with these limits.
  // `number`: it is that one of the client's commands.
  [[nodiscard]] std::optional<wire::Rc> submit(ClientId client, const space::Holder& who,
                                               const space::SpaceLimits& limits, wire::Command command,
                                               std::uint8_t locality, std::uint64_t number);
  // The client's space is opened, and begins with what that of `from` has (engine::Engine::inherit); `answered` will be
  // called. Precondition: the client has submitted nothing, and is of the same owner.
  [[nodiscard]] std::optional<wire::Rc> inherit(ClientId client, const space::Holder& who,
                                                const space::SpaceLimits& limits, ClientId from, std::uint64_t known);
  // For the commands that follow. A client that has no space yet gets one with its first command. False: too much of
  // its owner's waits.
  bool set_limits(ClientId client, const space::SpaceLimits& limits);
  void cancel(ClientId client);
  // The client is gone: its command is given up, its space ends.
  void close(ClientId client);
  // `order_done` will be called, unless the client is closed before. Or it is refused with a code.
  [[nodiscard]] std::optional<wire::Rc> order(ClientId client, engine::SessionOrder what);
  // `listed` will be called, unless the client is closed before. Or it is refused with a code. `only_own`: of what the
  // holder may know; else of everything. The list takes its turn in the queue, as a command of the client's would; but
  // nobody waits for a command that is at the TPM for long. Precondition: the client waits for no other.
  [[nodiscard]] std::optional<wire::Rc> ask_for_sessions(ClientId client, const space::Holder& who,
                                                         const space::SpaceLimits& limits, bool only_own);
  void answered_early(wire::Rc code) { counters_.add_early_answer(code); }

  // The machine is about to sleep. False: there is nothing to put away.
  bool prepare_for_sleep();
  void wake_up();

  // Ends the thread: the command at the TPM has limits::kStopGrace to end by itself, then it is cancelled, then the TPM
  // is left. Then `stopped` is called, from the loop, and `failed` never again.
  void stop();

  void fill(proto::Status& status);
  // What is nobody's secret, and the holder's own numbers: its owner's commands that wait or run, and its sessions, if
  // there is a list of them.
  void fill_for(const space::Holder& who, const engine::SessionList* list, proto::Status& status);
  // As the protocol has it, now. `tenant_of`: where an owner is, for a client that may know.
  using TenantOf = std::function<proto::Tenant(space::OwnerId)>;
  [[nodiscard]] static proto::Sessions told(const engine::SessionList& list, const TenantOf& tenant_of);

 private:
  struct Job {
    ClientId client = 0;
    space::OwnerId owner;
    space::Payer payer;
    bool cancelled = false;  // asked once is asked: a client that repeats it makes no more work
  };
  struct Client {
    space::OwnerId owner;
    space::Payer payer;
    JobId job = 0;  // 0: none
  };

  // Where the TPM is.
  enum class State : std::uint8_t {
    kOpening,  // the thread opens it
    kServing,
    kLeaving,  // it is gone, and the thread ends
    kAbsent,   // there is no thread
  };

  // A new job of the client's, which has a space from now on; or it cannot be taken.
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
    ClientId client = 0;  // 0: it is gone
    space::Payer payer;
    std::optional<space::Holder> only;
  };
  void answer_queries_meanwhile();
  [[nodiscard]] ClientId take_asker(std::uint64_t id, Query& query);
  void end_thread();
  void open_again();
  void on_socket();
  // Takes the job off the host; its client.
  ClientId finish(JobId job);
  // By us, without the thread. Delivered later: the client may be in the middle of something.
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
  std::unordered_map<ClientId, Client> clients_;      // those the thread knows
  std::unordered_set<JobId> cancels_;                 // to be asked again; clients may be gone
  std::vector<std::pair<ClientId, wire::Rc>> early_;  // to be delivered
  JobId last_job_ = 0;
  std::map<std::uint64_t, ClientId> orders_under_way_;  // that the thread has; clients may be gone: 0
  std::uint64_t last_order_ = 0;
  std::map<std::uint64_t, Query> queries_;                 // that the thread has
  std::set<std::pair<ClientId, std::uint64_t>> asked_by_;  // those of queries_ whose client is there
  std::uint64_t last_query_ = 0;
  bool lost_ = false;
  enum class Stopping : std::uint8_t { kNo, kWaiting, kCancelled, kLeft };
  Stopping stopping_ = Stopping::kNo;
  Watchdog watchdog_;
  StatusCounters counters_;
  RetryPace pace_;
  log::RateLimit reset_lines_;
  TpmThread::Events events_;

  // Last: it ends first, and nothing calls back after the sources.
  std::unique_ptr<TpmThread> thread_;  // never null; of a TPM that is absent, the one that has ended
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
