// The one thread that owns a TPM and its engine, and the loop's handle on it.
//
// Idea: the loop sends orders and takes events; neither waits for the other. The thread opens the TPM, brings it up,
// and then only moves bytes, calls `Engine::step` and sleeps. The engine's connections and tickets stay on that side:
// the loop speaks of clients and jobs by numbers of its own, so it needs no answer before it goes on. What cannot wait
// its turn in the queue (cancel, abandon, what is running) goes through the engine's gate. Threads: the public methods
// belong to the loop's thread, except where the engine's own thread is meant. Errors: the TPM that cannot be opened or
// brought up is the event `Failed`.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "daemon/mailbox.h"
#include "daemon/tpm_source.h"
#include "engine/engine.h"
#include "observe/account.h"
#include "space/owner.h"
#include "wire/command.h"

namespace tpmspace::daemon {

using ClientId = std::uint64_t;  // one accepted connection; never reused, never 0
using JobId = std::uint64_t;     // one command given to the thread; never reused, never 0

class TpmThread {
 public:
  // --- Events ---
  struct Ready {
    ChipReport report;
  };
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
    std::optional<observe::Account> account;
    std::optional<engine::Snapshot> snapshot;  // not with every step: it costs time
  };
  // After `drain`: every command from before it is done or dropped.
  struct Drained {};
  // After `stop`: nothing of ours is in the TPM any more, and the thread ends.
  struct Stopped {
    observe::Account account;
  };
  using Event = std::variant<Ready, Failed, Stepped, Drained, Stopped>;

  // Starts the thread.
  TpmThread(TpmSource source, const engine::Config& config);
  // Hangs up on the TPM unless the thread has ended, and waits for it.
  ~TpmThread();
  TpmThread(const TpmThread&) = delete;
  TpmThread& operator=(const TpmThread&) = delete;

  [[nodiscard]] int events_fd() const { return events_.fd(); }
  [[nodiscard]] std::vector<Event> take_events() { return events_.take(); }

  // --- Orders; Precondition: Ready was seen ---
  void open(ClientId client, space::OwnerId owner, const space::SpaceLimits& limits);
  // Precondition: the client is open and has no job. The command must have been parsed with `table()`.
  void submit(ClientId client, JobId job, wire::Command command, std::uint8_t locality);
  // Orders that the thread has not taken yet: it takes none while a command is at the TPM.
  [[nodiscard]] std::size_t backlog() const { return orders_.size(); }
  // Its job is dropped without an answer.
  void close(ClientId client);
  // If the job still waits: it is answered CANCELED.
  void cancel_waiting(JobId job);
  void drain();
  // The command at the TPM ends, those that wait are dropped, the TPM is emptied. Also before Ready.
  void stop();

  // --- Past the queue ---
  enum class CancelResult : std::uint8_t { kAsked, kNotYet, kDone };
  // Asks the TPM to give this job up, if its own command is there now. kNotYet: it is still on its way there.
  CancelResult cancel_at_tpm(JobId job);
  // As cancel, and what the command creates is given back: nobody takes its answer.
  void abandon(JobId job);
  [[nodiscard]] std::optional<engine::Gate::Running> running() const;
  // The back end is left; from now on it answers nothing.
  void hang_up();

  // The adopted table. Precondition: Ready was seen. Constant from then on.
  [[nodiscard]] const wire::CommandTable& table() const { return *table_; }

 private:
  struct Open {
    ClientId client = 0;
    space::OwnerId owner;
    space::SpaceLimits limits;
  };
  struct Submit {
    ClientId client = 0;
    JobId job = 0;
    wire::Command command;
    std::uint8_t locality = 0;
  };
  struct Close {
    ClientId client = 0;
  };
  struct CancelWaiting {
    JobId job = 0;
  };
  struct Drain {};
  struct Stop {};
  using Order = std::variant<Open, Submit, Close, CancelWaiting, Drain, Stop>;

  class Worker;
  void run(const TpmSource& source, const engine::Config& config);
  void serve(wire::Tpm& tpm, ChipReport report, const engine::Config& config);

  Inbox<Order> orders_;
  Outbox<Event> events_;
  std::unique_ptr<const wire::CommandTable> table_;  // made by the thread before Ready, constant since

  // What both sides touch.
  struct Shared {
    mutable std::mutex mutex;
    tpm::BackEnd* back_end = nullptr;  // while it is open
    engine::Gate* gate = nullptr;      // while the engine is there
    bool hung_up = false;
    bool ended = false;
    std::unordered_map<JobId, engine::Ticket> tickets;  // 0: the engine does not have it yet
  };
  Shared shared_;
  std::thread thread_;
};

}  // namespace tpmspace::daemon
