#include "host/chips.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace tpmspace::host {

Chips::Chips(loop::EventLoop& loop, log::Log& log, std::vector<Source> sources, const TpmHost::Terms& terms,
             Callbacks callbacks)
    : log_(log), callbacks_(std::move(callbacks)), patience_(loop.timer([this] { open_if_settled(); })) {
  for (Source& source : sources) {
    chips_.push_back(std::make_unique<Served>());
    chips_.back()->chip = std::move(source.chip);
  }
  for (std::size_t i = 0; i < chips_.size(); ++i)
    chips_[i]->host = std::make_unique<TpmHost>(loop, log, std::move(sources[i].tpm), terms, callbacks_for(i));
}

TpmHost::Callbacks Chips::callbacks_for(std::size_t chip) {
  return {.ready = [this, chip] { on_ready(chip); },
          .failed = [this, chip](const std::string& why) { on_failed(chip, why); },
          .answered = callbacks_.answered,
          .order_done = callbacks_.order_done,
          .listed = [this, chip](ClientId client, const auto& list) { callbacks_.listed(chip, client, list); },
          .away = [this, chip] { on_away(chip); },
          .stopped = [this, chip] { on_stopped(chip); },
          .lost_or_found =
              [this, chip](bool lost) {
                chips_[chip]->lost = lost;
                if (lost) on_away(chip);
                if (open_) callbacks_.changed();
              },
          .accounted = [this, chip](const observe::Account& account) { callbacks_.accounted(chip, account); }};
}

bool Chips::any(State state) const {
  return std::any_of(chips_.begin(), chips_.end(), [state](const auto& one) { return one->state == state; });
}

void Chips::on_ready(std::size_t chip) {
  Served& one = *chips_[chip];
  const bool again = one.state == State::kServing;
  one.state = State::kServing;
  one.lost = false;
  one.why.clear();
  if (again) callbacks_.replaced(chip);
  if (open_) {
    if (again)
      log_.notice("{}, the chip \"{}\", is there again; its spaces are empty", host(chip).name(), name(chip));
    else
      log_.notice("{}, the chip \"{}\", is there now", host(chip).name(), name(chip));
    callbacks_.changed();
  }
  // After the patience has passed, missing TPMs are no longer waited for.
  if (chip == 0 && !open_) patience_.arm(limits::kChipPatience);
  open_if_settled();
}

void Chips::open_if_settled() {
  const bool waits = any(State::kStarting) && patience_.armed();
  if (open_ || stopping_ || !serves(0) || waits) return;
  open_ = true;
  patience_.disarm();
  callbacks_.open();
}

void Chips::on_failed(std::size_t chip, const std::string& why) {
  Served& one = *chips_[chip];
  if (one.state == State::kStarting) one.state = State::kFailed;
  if (chip == 0 && one.state == State::kFailed) {
    log_.error("{}: {}", host(chip).name(), why);
    callbacks_.main_failed();
    return stop();
  }
  open_if_settled();
  if (std::exchange(one.why, why) == why) return;
  log_.error("{}: {}; until the TPM is there, clients of the chip \"{}\" {}", host(chip).name(), why, name(chip),
             one.state == State::kServing ? "get FAILURE" : "are refused");
  if (open_) callbacks_.changed();
}

void Chips::on_stopped(std::size_t chip) {
  chips_[chip]->state = State::kStopped;
  end_if_over();
}

void Chips::end_if_over() {
  const bool all =
      std::all_of(chips_.begin(), chips_.end(), [](const auto& one) { return one->state == State::kStopped; });
  if (over_ || !all) return;
  over_ = true;
  callbacks_.over();
}

bool Chips::has(std::string_view name) const {
  return std::any_of(chips_.begin(), chips_.end(), [&](const auto& one) { return one->chip.name == name; });
}

bool Chips::serves_as(const guard::Chip& one) const {
  return std::any_of(chips_.begin(), chips_.end(), [&](const auto& there) { return there->chip == one; });
}

bool Chips::answers(std::string_view name) const {
  if (name.empty()) return chips_[0]->answers();
  return std::any_of(chips_.begin(), chips_.end(),
                     [&](const auto& one) { return one->chip.name == name && one->answers(); });
}

std::string Chips::names(std::string_view between) const {
  std::string out;
  for (const auto& one : chips_) out.append(out.empty() ? "" : between).append(one->chip.name);
  return out;
}

std::string Chips::names_of_lost(std::string_view between) const {
  std::string out;
  for (const auto& one : chips_)
    if (!one->answers()) out.append(out.empty() ? "" : between).append(one->chip.name);
  return out;
}

void Chips::close(ClientId client) {
  for (const auto& one : chips_) one->host->close(client);
}

void Chips::prepare_for_sleep() {
  bool anything = false;
  for (const auto& one : chips_) {
    one->puts_away = one->host->prepare_for_sleep();
    anything = anything || one->puts_away;
  }
  if (!anything) callbacks_.away();
}

void Chips::wake_up() {
  for (const auto& one : chips_) one->host->wake_up();
}

void Chips::on_away(std::size_t chip) {
  if (!std::exchange(chips_[chip]->puts_away, false)) return;
  if (std::none_of(chips_.begin(), chips_.end(), [](const auto& one) { return one->puts_away; })) callbacks_.away();
}

void Chips::stop() {
  stopping_ = true;
  for (const auto& one : chips_) one->host->stop();
}

}  // namespace tpmspace::host
