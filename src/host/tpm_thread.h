// The one thread that owns a TPM and its engine, and the loop's handle on it.
//
// Idea: the loop sends orders and takes events; neither waits for the other. The thread opens the TPM, brings it up,
// and then only moves bytes, calls `Engine::step` and sleeps. It opens its TPM once: for one that is gone and comes
// back there is another thread, which has nothing of this one, and begins when this one's last event is taken. The
// engine's connections and tickets stay on that side: the loop speaks of clients and jobs by numbers of its own, so it
// needs no answer before it goes on. What cannot wait its turn in the queue (withdraw, cancel, abandon, what is
// running) goes through the engine's gate. Threads: the public methods belong to the loop's thread, except where the
// engine's own thread is meant. Errors: the TPM that cannot be opened or brought up is the event `Failed`. Limits: the
// thread takes no orders while a command is at the TPM, so those that wait are counted for each owner (`has_room`). It
// takes limits::kOrdersPerStep of them between two steps of the engine, and owners take turns.
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
  // The TPM could not be opened or brought up: it is left again, and the thread ends.
  struct Failed {
    std::string why;
  };
  struct Answer {
    JobId job = 0;
    wire::Bytes response;
  };
  // Something happened in one step.
  struct Stepped {
    std::optional<Answer> answer;
    std::optional<observe::Account> account;         // likewise: `connection` is a ClientId
    std::optional<engine::OrderDone> order_done;     // `order` as it was given; connections are ClientIds
    std::optional<engine::SessionsAnswer> sessions;  // `id` as it was given; connections are ClientIds
    engine::Snapshot snapshot;
  };
  // So many orders were taken.
  struct Taken {
    std::vector<std::pair<space::Payer, std::size_t>> orders;
  };
  // After `prepare_for_sleep`: what can be put away is.
  struct Away {};
  // After `drain`: every command from before it is done or dropped.
  struct Drained {};
  // After `stop`: nothing of ours is in the TPM any more, as far as it answers; it is left, and the thread ends.
  struct Stopped {
    observe::Account account;
  };
  using Event = std::variant<Ready, Failed, Stepped, Taken, Away, Drained, Stopped>;

  using Events = base::Outbox<Event>;

  // Starts the thread; `std::system_error` if there can be none. `again`: as Opening. The events must outlive it, and
  // be no other's any more.
  TpmThread(Events& events, TpmSource source, const engine::Config& config, bool again);
  // Hangs up on the TPM unless the thread has ended, and waits for it.
  ~TpmThread();
  TpmThread(const TpmThread&) = delete;
  TpmThread& operator=(const TpmThread&) = delete;

  [[nodiscard]] std::vector<Event> take_events();

  // --- Orders; Precondition: Ready was seen. They use turns of the owner and are counted for the payer ---
  // Whether the payer may submit: not too many of its orders wait.
  [[nodiscard]] bool has_room(const space::Payer& payer) const { return room_.admits(payer); }
  void open(space::OwnerId owner, const space::Payer& payer, ClientId client, const space::SpaceLimits& limits);
  // Precondition: the client is open. For the jobs that follow.
  void set_limits(space::OwnerId owner, const space::Payer& payer, ClientId client, const space::SpaceLimits& limits);
  // Precondition: the client is open and has no job. The command must have been parsed with `table()`.
  // `number`: as Engine::submit has it.
  void submit(space::OwnerId owner, const space::Payer& payer, ClientId client, JobId job, wire::Command command,
              std::uint8_t locality, std::uint64_t number);
  // Likewise, and nothing was submitted: Engine::inherit. A client `from` without a space has nothing to give: SUCCESS.
  void inherit(space::OwnerId owner, const space::Payer& payer, ClientId client, JobId job, ClientId from,
               std::uint64_t known);
  // Its job is dropped without an answer.
  void close(space::OwnerId owner, ClientId client);
  // The list comes with an event when it is the payer's turn.
  void ask_for_sessions(const space::Payer& payer, const engine::SessionsQuery& query);
  // The event that has Flushed comes when they are.
  void order(std::uint64_t order, engine::SessionOrder what);
  // The machine is about to sleep (Engine::prepare_for_sleep), or is awake again.
  void prepare_for_sleep();
  void wake_up();
  void drain();
  // The command at the TPM ends, those that wait are dropped, the TPM is emptied. Also before Ready.
  void stop();

  // --- Past the queue ---
  // True: the job waited; it will never run and has no answer. `owner` is the client's, here and below.
  [[nodiscard]] bool withdraw(space::OwnerId owner, ClientId client, JobId job);
  // True: the job is served and was asked to be given up; a chip may miss that, so ask again. False: it is done.
  bool cancel(JobId job);
  // Nobody takes its answer: withdrawn or cancelled, and what it does is undone. False: it is done, and its answer is
  // on its way.
  bool abandon(space::OwnerId owner, ClientId client, JobId job);
  [[nodiscard]] std::optional<engine::Gate::Running> running() const;
  // The list as it is while a command is at the TPM; connections are ClientIds. Nullopt: no command is there, so that
  // the thread will make the list soon (`ask_for_sessions`).
  [[nodiscard]] std::optional<engine::SessionList> sessions_meanwhile(const std::optional<space::Holder>& only) const;
  // The back end is left, also while it is being opened; from now on it answers nothing.
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
  struct Drop {  // was withdrawn; it may still be in the engine's queue or line
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
    std::optional<space::OwnerId> owner;  // whose turn it uses; nullopt: it is taken at once
    std::optional<space::Payer> counted;  // in room_
    std::variant<Open, SetLimits, Submit, Inherit, Close, Drop, AboutSessions, AskForSessions, PrepareForSleep, WakeUp,
                 Drain, Stop>
        what;
  };

  void expect(JobId job);
  // What gives something back is not counted: there is one Close for each Open, and one Drop for each command that the
  // engine has.
  template <typename What>
  void put_counted(space::OwnerId owner, const space::Payer& payer, What what) {
    room_.take(payer);
    orders_.put(Order{owner, payer, std::move(what)});
  }

  void run(const TpmSource& source, const engine::Config& config, bool again);
  // The last event; the back end is closed by then.
  Event use(const TpmSource& source, const engine::Config& config, bool again);
  Event serve(wire::Tpm& tpm, ChipReport report, const engine::Config& config, const TpmSource& source);

  // For what is in orders_, or was taken and is not reported yet.
  space::SharedRoom room_{space::ShareRule::of(limits::kOrders, 1)};
  base::Inbox<Order> orders_;
  Events& events_;
  std::stop_source give_up_;
  std::shared_ptr<const wire::CommandTable> table_;  // made by the thread before Ready, constant since

  // What both sides touch.
  struct Shared {
    mutable std::mutex mutex;
    tpm::BackEnd* back_end = nullptr;  // while it is open
    engine::Gate* gate = nullptr;      // while the engine is there
    const Worker* worker = nullptr;    // likewise
    bool ended = false;
    // Of jobs that are not done. 0: the engine does not have it yet; if it is gone by then it was withdrawn.
    std::unordered_map<JobId, engine::Ticket> tickets;
  };
  Shared shared_;
  std::thread thread_;
};

}  // namespace tpmspace::host
