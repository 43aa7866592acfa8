// The one thread that owns a TPM and its engine, and the loop's handle on the thread.
//
// Idea: the loop sends orders and takes events; neither waits for the other. The thread opens the TPM, brings it up,
// and then only moves bytes, calls `Engine::step` and sleeps. The thread opens its TPM once: for a TPM that is gone and
// returns, a new thread without any state of the old thread begins when the old thread's last event was taken. The
// engine's connections and tickets stay in the thread: the loop names clients and jobs by its own numbers, so the loop
// need not wait for an answer. Urgent calls (withdraw, cancel, abandon, running) bypass the queue through the engine's
// gate.
// Threads: the public methods belong to the loop's thread; the private methods of the engine's side to the thread
// itself. Errors: if the TPM cannot be opened or brought up, the event `Failed` says so.
// Limits: the thread takes no orders while a command is at the TPM, so waiting orders are counted for each owner
// (`has_room`). The thread takes limits::kOrdersPerStep orders between two steps of the engine, and owners take turns.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "base/mailbox.h"
#include "books/owner.h"
#include "books/shared_room.h"
#include "engine/engine.h"
#include "host/tpm_source.h"
#include "observe/account.h"
#include "wire/command.h"

namespace tpmspace::host {

using ClientId = std::uint64_t;  // one accepted connection; never reused, never 0
using JobId = std::uint64_t;     // one command given to the thread; never reused, never 0

class TpmThread {
 public:
  // --- Events ---
  struct Ready {
    ChipReport report;
  };
  // The TPM could not be opened or brought up: the thread leaves the TPM and ends.
  struct Failed {
    std::string why;
  };
  struct Answer {
    JobId job = 0;
    wire::Bytes response;
  };
  // The results of one step.
  struct Stepped {
    std::optional<Answer> answer;
    std::optional<observe::Account> account;         // `connection` is a ClientId
    std::optional<engine::OrderDone> order_done;     // `order` as passed in; connections are ClientIds
    std::optional<engine::SessionsAnswer> sessions;  // `id` as passed in; connections are ClientIds
    engine::Snapshot snapshot;
  };
  // The orders that were taken, by payer.
  struct Taken {
    std::vector<std::pair<space::Payer, std::size_t>> orders;
  };
  // After `prepare_for_sleep`: the TPM's contents are saved as far as possible.
  struct Away {};
  // After `drain`: every earlier command is done or dropped.
  struct Drained {};
  // After `stop`: if the TPM responds, all objects and sessions of ours are removed; the thread leaves the TPM and
  // ends.
  struct Stopped {
    observe::Account account;
  };
  using Event = std::variant<Ready, Failed, Stepped, Taken, Away, Drained, Stopped>;

  using Events = base::Outbox<Event>;

  // Starts the thread; throws `std::system_error` if no thread can be made. `again`: as in Opening. The events must
  // outlive the thread and serve no other thread.
  TpmThread(Events& events, TpmSource source, const engine::Config& config, bool again);
  // Hangs up on the TPM unless the thread has ended, and waits for it.
  ~TpmThread();
  TpmThread(const TpmThread&) = delete;
  TpmThread& operator=(const TpmThread&) = delete;

  [[nodiscard]] std::vector<Event> take_events();

  // --- Orders; Precondition: Ready was seen. Orders use turns of the owner and are counted for the payer ---
  // Whether the payer may submit: the number of its waiting orders is below the limit.
  [[nodiscard]] bool has_room(const space::Payer& payer) const { return room_.admits(payer); }
  void open(space::OwnerId owner, const space::Payer& payer, ClientId client, const space::SpaceLimits& limits);
  // Precondition: the client is open. For the following jobs.
  void set_limits(space::OwnerId owner, const space::Payer& payer, ClientId client, const space::SpaceLimits& limits);
  // Precondition: the client is open and has no job. The command must have been parsed with `table()`.
  // `number`: as in Engine::submit.
  void submit(space::OwnerId owner, const space::Payer& payer, ClientId client, JobId job, wire::Command command,
              std::uint8_t locality, std::uint64_t number);
  // Preconditions as for `submit`, and the client has submitted no command: Engine::inherit. If `from` has no space,
  // the response is SUCCESS.
  void inherit(space::OwnerId owner, const space::Payer& payer, ClientId client, JobId job, ClientId from,
               std::uint64_t known);
  // Drops the client's job without a response.
  void close(space::OwnerId owner, ClientId client);
  // The list comes with an event in the payer's turn.
  void ask_for_sessions(const space::Payer& payer, const engine::SessionsQuery& query);
  // The event with the OrderDone comes when the order is done.
  void order(std::uint64_t order, engine::SessionOrder what);
  // The machine is about to sleep (Engine::prepare_for_sleep), or is awake again.
  void prepare_for_sleep();
  void wake_up();
  void drain();
  // The command at the TPM ends, waiting commands are dropped, the TPM is emptied. Also allowed before Ready.
  void stop();

  // --- Past the queue ---
  // True: the job was waiting; it never runs and has no response. `owner` is the client's, here and below.
  [[nodiscard]] bool withdraw(space::OwnerId owner, ClientId client, JobId job);
  // True: the job is being served and was asked to cancel; a chip may miss the request, so repeat it. False: the job is
  // done.
  bool cancel(JobId job);
  // No client takes the response: the job is withdrawn or cancelled, and its effects are undone. False: the job is
  // done, and its response is on the way.
  bool abandon(space::OwnerId owner, ClientId client, JobId job);
  [[nodiscard]] std::optional<engine::Gate::Running> running() const;
  // The list while a command is at the TPM; connections are ClientIds. Nullopt: no command is at the TPM, so the thread
  // will make the list soon (`ask_for_sessions`).
  [[nodiscard]] std::optional<engine::SessionList> sessions_meanwhile(const std::optional<space::Holder>& only) const;
  // Closes the back end, even while it is being opened; from now on the back end returns no response.
  void hang_up();

  // The adopted table. Precondition: Ready was seen. Constant from then on.
  [[nodiscard]] std::shared_ptr<const wire::CommandTable> table() const { return table_; }

 private:
  class Worker;
  struct Open {
    ClientId client = 0;
    space::OwnerId owner;
    space::SpaceLimits limits;
  };
  struct SetLimits {
    ClientId client = 0;
    space::SpaceLimits limits;
  };
  struct Submit {
    ClientId client = 0;
    JobId job = 0;
    wire::Command command;
    std::uint8_t locality = 0;
    std::uint64_t number = 0;
  };
  struct Inherit {
    ClientId client = 0;
    JobId job = 0;
    ClientId from = 0;
    std::uint64_t known = 0;
  };
  struct Close {
    ClientId client = 0;
  };
  struct Drop {  // for a withdrawn job, which may still be in the engine's queue or line
    ClientId client = 0;
    engine::Ticket ticket = 0;
  };
  struct AboutSessions {
    std::uint64_t order = 0;
    engine::SessionOrder what;
  };
  struct AskForSessions {
    engine::SessionsQuery query;
  };
  struct PrepareForSleep {};
  struct WakeUp {};
  struct Drain {};
  struct Stop {};
  struct Order {
    std::optional<space::OwnerId> owner;  // the owner whose turn the order uses; nullopt: taken at once
    std::optional<space::Payer> counted;  // in room_
    std::variant<Open, SetLimits, Submit, Inherit, Close, Drop, AboutSessions, AskForSessions, PrepareForSleep, WakeUp,
                 Drain, Stop>
        what;
  };

  void expect(JobId job);
  // Orders that free resources are not counted: one Close exists for each Open, and one Drop for each command in the
  // engine.
  template <typename What>
  void put_counted(space::OwnerId owner, const space::Payer& payer, What what) {
    room_.take(payer);
    orders_.put(Order{owner, payer, std::move(what)});
  }

  void run(const TpmSource& source, const engine::Config& config, bool again);
  // Returns the last event; the back end is closed by then.
  Event use(const TpmSource& source, const engine::Config& config, bool again);
  Event serve(wire::Tpm& tpm, ChipReport report, const engine::Config& config, const TpmSource& source);

  // Counts the orders in orders_, and taken orders not reported yet.
  space::SharedRoom room_{space::ShareRule::of(limits::kOrders, 1)};
  base::Inbox<Order> orders_;
  Events& events_;
  std::stop_source give_up_;
  std::shared_ptr<const wire::CommandTable> table_;  // made by the thread before Ready, constant since

  // The state used by both threads.
  struct Shared {
    mutable std::mutex mutex;
    tpm::BackEnd* back_end = nullptr;  // while the back end is open
    engine::Gate* gate = nullptr;      // while the engine exists
    const Worker* worker = nullptr;    // while the worker exists
    bool ended = false;
    // Tickets of unfinished jobs. 0: the engine does not have the job yet; if the entry is gone by then, the job was
    // withdrawn.
    std::unordered_map<JobId, engine::Ticket> tickets;
  };
  Shared shared_;
  std::thread thread_;
};

}  // namespace tpmspace::host
