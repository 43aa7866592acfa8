// The event loop's desk for one TPM: takes clients' commands, hands them to the TPM's thread, hands answers back.
//
// Idea: everything about a command between its acceptance and its answer is here: which client waits for which job,
// cancelling, the deadline, the state of the chip, and the counters that all this feeds.
// A TPM that misses its deadline is *lost*: everybody who waits is answered FAILURE from our layer, and so is every new
// command, until the thread has come back and has dropped what was in it; then the chip is *found* again.
// Threads: belongs to the event loop. Errors: a command that cannot be taken is refused with a response code.
// Limits: `queue` commands at a time.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/event_loop.h"
#include "daemon/log.h"
#include "daemon/status_counters.h"
#include "daemon/tpm_thread.h"
#include "daemon/watchdog.h"

namespace tpmspace::daemon {

class TpmDesk {
 public:
  struct Callbacks {
    std::function<void()> ready;
    std::function<void(const std::string& why)> failed;
    // The client's command is done. The callback may submit the client's next one.
    std::function<void(ClientId client, wire::ByteView response)> answered;
    std::function<void()> stopped;
    std::function<void(bool lost)> lost_or_found;
  };
  struct Terms {
    engine::Config engine;
    space::SpaceLimits space;
    std::uint32_t queue = limits::kQueue;
  };

  TpmDesk(EventLoop& loop, Log& log, TpmSource source, const Terms& terms, Callbacks callbacks);

  // Precondition: `ready` was called.
  [[nodiscard]] const wire::CommandTable& table() const { return thread_.table(); }
  [[nodiscard]] const ChipReport& chip() const { return chip_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  // Precondition: the client has no command here.
  [[nodiscard]] std::optional<wire::Rc> submit(ClientId client, space::OwnerId owner, wire::Command command,
                                               std::uint8_t locality);
  void cancel(ClientId client);
  // The client is gone: its command is given up, its space ends.
  void close(ClientId client);
  void answered_early(wire::Rc code) { counters_.add_early_answer(code); }

  // Ends the thread: the command at the TPM has limits::kStopGrace to end by itself, then it is cancelled, then the TPM
  // is left. `stopped` or `failed` is called in any case, unless `failed` was.
  void stop();

  void fill(proto::Status& status);

 private:
  struct Job {
    ClientId client = 0;
  };

  void take_events();
  void handle(TpmThread::Ready& event);
  void handle(TpmThread::Failed& event);
  void handle(TpmThread::Stepped& event);
  void handle(TpmThread::Drained& event);
  void handle(TpmThread::Stopped& event);
  void deliver(const TpmThread::Answer& answer);
  void note(const observe::Account& account);

  void look_at_deadline();
  void lose_chip(const engine::Gate::Running& running);
  void retry_cancels();
  void want_cancel(JobId job);
  void press_on();

  // Constant.
  Log& log_;
  std::string name_;
  bool can_hang_;
  Terms terms_;
  Callbacks callbacks_;

  ChipReport chip_;
  std::unordered_map<JobId, Job> jobs_;
  std::unordered_map<ClientId, JobId> clients_;  // those the thread knows; 0: no job
  std::unordered_set<JobId> cancels_;            // to be tried (again); clients may be gone
  JobId last_job_ = 0;
  bool ready_ = false;
  bool lost_ = false;
  bool gone_ = false;  // the back end said that it is closed
  enum class Stopping : std::uint8_t { kNo, kWaiting, kCancelled, kLeft };
  Stopping stopping_ = Stopping::kNo;
  Watchdog watchdog_;
  StatusCounters counters_;

  // Last: it ends first, and nothing calls back after the sources.
  TpmThread thread_;
  Watch events_;
  Timer deadline_timer_;
  Timer cancel_timer_;
  Timer stop_timer_;
};

}  // namespace tpmspace::daemon
