// The TPMs that the daemon serves: a host for each TPM, and the start and the end, which concern all TPMs.
//
// Idea: each TPM has its own host, thread, engine, books and queue, so a TPM that hangs, is lost or is slow costs the
// users of other TPMs nothing. The main TPM must come up at the start. If another TPM does not come up, the log says
// so, clients that want the TPM are refused, and the TPM's host retries, as for a TPM that goes later. `open` is called
// once, when clients can be let in; `over` once, when all hosts have ended.
// Threads: belongs to the event loop. Limits: limits::kChips beside the main TPM. Errors: sentences in the log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guard/access.h"
#include "host/tpm_host.h"
#include "host/tpm_source.h"
#include "log/log.h"
#include "loop/event_loop.h"

namespace tpmspace::host {

class Chips {
 public:
  struct Source {
    guard::Chip chip;
    TpmSource tpm;
  };
  struct Callbacks {
    // The main TPM serves, and the other TPMs serve or are no longer waited for.
    std::function<void()> open;
    // The main TPM could not be started: the other TPMs are of no use to most clients.
    std::function<void()> main_failed;
    // After `stop`, or after the main TPM could not be started.
    std::function<void()> over;
    // After `prepare_for_sleep`: all TPMs have saved their contents as far as possible.
    std::function<void()> away;
    // The number of responding TPMs has changed.
    std::function<void()> changed;
    // Commands for the TPM are parsed with a new table from now on; the former table ends with this call.
    std::function<void(std::size_t chip)> replaced;
    // As in TpmHost::Callbacks.
    std::function<void(ClientId client, wire::ByteView response)> answered;
    std::function<void(ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions)>
        order_done;
    std::function<void(std::size_t chip, ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list)>
        listed;
    std::function<void(std::size_t chip, const observe::Account& account)> accounted;
  };

  // Starts the TPMs. Precondition: at least one source; the first is the main TPM's.
  Chips(loop::EventLoop& loop, log::Log& log, std::vector<Source> sources, const TpmHost::Terms& terms,
        Callbacks callbacks);

  [[nodiscard]] std::size_t size() const { return chips_.size(); }
  [[nodiscard]] const std::string& name(std::size_t chip) const { return chips_[chip]->chip.name; }
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] bool serves_as(const guard::Chip& one) const;
  [[nodiscard]] TpmHost& host(std::size_t chip) { return *chips_[chip]->host; }
  [[nodiscard]] const TpmHost& host(std::size_t chip) const { return *chips_[chip]->host; }
  // The TPM was brought up. The TPM may be lost or gone since: then its host responds.
  [[nodiscard]] bool serves(std::size_t chip) const { return chips_[chip]->state == State::kServing; }
  // The TPM serves and responds now. An empty name means the main TPM.
  [[nodiscard]] bool answers(std::size_t chip) const { return chips_[chip]->answers(); }
  [[nodiscard]] bool answers(std::string_view name) const;
  // "main other" with " ", for people: all TPMs, and the TPMs that do not respond now.
  [[nodiscard]] std::string names(std::string_view between) const;
  [[nodiscard]] std::string names_of_lost(std::string_view between) const;

  // The machine is about to sleep, or is awake again.
  void prepare_for_sleep();
  void wake_up();
  // The client has left.
  void close(ClientId client);
  void stop();

 private:
  enum class State : std::uint8_t { kStarting, kServing, kFailed, kStopped };
  struct Served {
    [[nodiscard]] bool answers() const { return state == State::kServing && !lost; }

    guard::Chip chip;
    State state = State::kStarting;
    bool lost = false;
    bool puts_away = false;  // the machine waits for this TPM before it sleeps
    std::string why;         // the last logged reason why the TPM could not be opened
    std::unique_ptr<TpmHost> host;
  };

  [[nodiscard]] TpmHost::Callbacks callbacks_for(std::size_t chip);
  void on_ready(std::size_t chip);
  void on_failed(std::size_t chip, const std::string& why);
  void on_stopped(std::size_t chip);
  void on_away(std::size_t chip);
  void open_if_settled();
  void end_if_over();
  [[nodiscard]] bool any(State state) const;

  log::Log& log_;
  Callbacks callbacks_;
  bool open_ = false;
  bool stopping_ = false;
  bool over_ = false;
  loop::Timer patience_;
  std::vector<std::unique_ptr<Served>> chips_;  // last: their callbacks use the members above
};

}  // namespace tpmspace::host
