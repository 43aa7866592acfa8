// The TPMs that the daemon serves: a host for each, and what is one matter for all of them: the start and the end.
//
// Idea: each TPM has its own host, thread, engine, books and queue, so one that hangs, or is lost, or is slow, costs
// nobody who uses another. The main one must come up at the start; another that does not is said to be missing, whoever
// wants it is refused, and its host tries it again, as it does with any that is gone later. `open` comes once, when
// clients can be let in; `over` once, when all of them have ended.
// Threads: belongs to the event loop. Limits: limits::kChips beside the main one. Errors: sentences in the log.
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
    // The main TPM serves, and the others do or are not waited for any more.
    std::function<void()> open;
    // The main TPM could not be started: the others are of no use to most.
    std::function<void()> main_failed;
    // After `stop`, or after the main TPM could not be started.
    std::function<void()> over;
    // After `prepare_for_sleep`: all of them have put away what they can.
    std::function<void()> away;
    // One more or less answers.
    std::function<void()> changed;
    // Commands for that one are parsed with another table from now on; the former one ends with this call.
    std::function<void(std::size_t chip)> replaced;
    // As TpmHost::Callbacks has them.
    std::function<void(ClientId client, wire::ByteView response)> answered;
    std::function<void(ClientId client, const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions)>
        order_done;
    std::function<void(std::size_t chip, ClientId client, const tl::expected<engine::SessionList, wire::Rc>& list)>
        listed;
    std::function<void(std::size_t chip, const observe::Account& account)> accounted;
  };

  // Starts them. Precondition: there is one; the first is the main one.
  Chips(loop::EventLoop& loop, log::Log& log, std::vector<Source> sources, const TpmHost::Terms& terms,
        Callbacks callbacks);

  [[nodiscard]] std::size_t size() const { return chips_.size(); }
  [[nodiscard]] const std::string& name(std::size_t chip) const { return chips_[chip]->chip.name; }
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] bool serves_as(const guard::Chip& one) const;
  [[nodiscard]] TpmHost& host(std::size_t chip) { return *chips_[chip]->host; }
  [[nodiscard]] const TpmHost& host(std::size_t chip) const { return *chips_[chip]->host; }
  // It was brought up. It may be lost or gone since: its host answers for it.
  [[nodiscard]] bool serves(std::size_t chip) const { return chips_[chip]->state == State::kServing; }
  // It serves, and answers now. An empty name is the main one's.
  [[nodiscard]] bool answers(std::size_t chip) const { return chips_[chip]->answers(); }
  [[nodiscard]] bool answers(std::string_view name) const;
  // "main other" with " ", for people; and of those that do not answer now.
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
    bool puts_away = false;  // the machine waits for it
    std::string why;         // it could not be opened, as was said last
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
  std::vector<std::unique_ptr<Served>> chips_;  // last: their callbacks use what is above
};

}  // namespace tpmspace::host
