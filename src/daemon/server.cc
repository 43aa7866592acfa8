#include "daemon/server.h"

#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "daemon/version.h"

namespace tpmspace::daemon {
namespace {

engine::Config engine_config(const config::Limits& limits, const config::Idle& idle) {
  engine::Config out;
  out.client_saved_sessions_per_owner = limits.client_saved_sessions;
  out.max_bytes = limits.bytes;
  out.put_away_after = idle.put_away;
  out.save_objects_after = idle.save_objects;
  out.save_sessions_after = idle.save_sessions;
  return out;
}

host::TpmHost::Terms terms_of(const config::Limits& limits, const config::Idle& idle) {
  return {.engine = engine_config(limits, idle), .queue = limits.queue};
}

space::SpaceLimits most_of_a_space(const config::Limits& limits) {
  return {.objects = limits.objects, .sessions = limits.sessions, .terms = limits.terms};
}

std::uint32_t least_limit(std::uint32_t a, std::uint32_t b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

std::vector<std::string> names_of(const std::vector<host::Chips::Source>& sources) {
  std::vector<std::string> out;
  out.reserve(sources.size());
  for (const auto& source : sources) out.push_back(source.chip.name);
  return out;
}

}  // namespace

Server::Server(log::Log& log, log::AuditLog audit, const Terms& terms, loop::ListeningSocket main_listener,
               std::vector<host::Chips::Source> sources)
    : log_(log),
      descriptors_(divide_descriptors_of_process(sources.size(), terms.access.listeners.size())),
      audit_(std::move(audit)),
      access_control_(std::make_shared<const guard::Policy>(terms.access.policy), names_of(sources),
                      most_of_a_space(terms.limits), terms.limits.bytes, descriptors_.unread),
      listeners_(
          loop_, log, std::move(main_listener),
          [this](base::Fd client, const guard::Entrance& entrance, const loop::Listeners::Occupancy& listener) {
            admission_.add(std::move(client), entrance, listener);
          },
          [this] { return admission_.has_room(); }),
      rights_(access_control_, chips_),
      clients_(loop_, least_limit(terms.limits.connections, descriptors_.clients), [this] { listeners_.on_room(); }),
      reload_(
          loop_, log, terms.access, terms.config_file, terms.reread, access_control_, listeners_,
          [this](const guard::Chip& chip) { return chips_.serves_as(chip); },
          [this](const proto::Outcome& outcome, const std::vector<host::ClientId>& for_whom) {
            dispatcher_.reloaded(outcome, for_whom);
          }),
      reports_(log, audit_, terms.limits, reload_.access(), terms.config_file, chips_, rights_, clients_),
      commands_(access_control_, chips_, rights_, clients_, audit_),
      requests_(log, access_control_, listeners_, chips_, rights_, clients_, reload_, reports_),
      dispatcher_(log, audit_, chips_, rights_, clients_, commands_, requests_),
      admission_(loop_, log, terms.limits, descriptors_, access_control_, chips_, clients_, dispatcher_,
                 [this] { listeners_.on_room(); }),
      audit_timer_(loop_.timer([this] {
        if (audit_.say_held_back()) audit_timer_.arm(limits::kLinePeriod);
      })),
      chips_(loop_, log, std::move(sources), terms_of(terms.limits, terms.idle), callbacks_of_chips()),
      sleep_(loop_, log,
             {.falls_asleep = [this] { chips_.prepare_for_sleep(); }, .wakes_up = [this] { chips_.wake_up(); }}) {
  wire_signals();
  audit_.on_held_back([this] {
    if (!audit_timer_.armed()) audit_timer_.arm(limits::kLinePeriod);
  });
}

host::Chips::Callbacks Server::callbacks_of_chips() {
  return {
      .open = [this] { let_clients_in(); },
      .main_failed = [this] { on_main_failed(); },
      .over = [this] { on_over(); },
      .away =
          [this] {
            log_.info("everything is put away; the machine may sleep");
            sleep_.may_sleep();
          },
      .changed = [this] { tell_state(); },
      .replaced = [this](std::size_t chip) { on_replaced(chip); },
      .answered = [this](host::ClientId client, wire::ByteView response) { commands_.answer(client, response); },
      .order_done = [this](host::ClientId client, const auto& sessions) { dispatcher_.order_done(client, sessions); },
      .listed = [this](std::size_t chip, host::ClientId client,
                       const auto& list) { requests_.listed(chip, client, list); },
      .accounted = [this](std::size_t chip, const auto& account) { commands_.account(chip, account); }};
}

void Server::wire_signals() {
  loop_.on_signal(SIGTERM, [this] { on_stop_signal(); });
  loop_.on_signal(SIGINT, [this] { on_stop_signal(); });
  loop_.on_signal(SIGHUP, [this] {
    audit_.open_anew();
    reload_.ask(0);
  });
}

tl::expected<void, std::string> Server::claim_listeners() {
  for (const guard::Listener& listener : reload_.access().listeners)
    if (auto ok = listeners_.add(listener, false); !ok) {
      auto why = fmt::format("the listener \"{}\": {}", listener.name, ok.error());
      if (!listener.dispensable) return tl::unexpected(std::move(why));
      log_.warning("{}; tpmspaced goes on without it", why);
    }
  return {};
}

int Server::run() {
  log_.info("version {} starts, on {}", kVersion, chips_.host(0).name());
  for (std::size_t i = 1; i < chips_.size(); ++i)
    log_.info("and, as the chip \"{}\", on {}", chips_.name(i), chips_.host(i).name());
  if (!access_control_.sees_others())
    log_.warning(
        "tpmspaced cannot see the processes of other users (hidepid, or another /proc), so it does not know "
        "containers: "
        "their root counts as the machine's, or if rules or namespaces ask where a process is, the machine's root gets "
        "no "
        "more than a container's; docs/identity.md says what the unit needs");
  manager_.tell("STATUS=Starting the TPM");
  const int code = loop_.run();
  audit_.last_words();
  return code;
}

// --- TPMs ------------------------------------------------------------------------------------------------------------

void Server::let_clients_in() {
  if (auto ok = listeners_.open(); !ok) {
    log_.error("{}", ok.error());
    exit_code_ = 1;
    return begin_stop();
  }
  for (std::size_t i = 0; i < chips_.size(); ++i) {
    if (!chips_.serves(i)) continue;
    const auto& chip = chips_.host(i).chip();
    log_.info("serving {} on {} ({} {}): {} object slots, {} loaded sessions, {} active sessions",
              chips_.host(i).name(), listeners_.main_path(), chip.manufacturer, chip.vendor, chip.chip.object_slots,
              chip.chip.loaded_sessions, chip.chip.active_sessions);
  }
  manager_.tell("READY=1");
  tell_state();
}

void Server::on_main_failed() {
  exit_code_ = 1;
  if (chips_.size() > 1) begin_stop();
}

void Server::tell_state() {
  const auto troubles = chips_.names_of_lost(", ");
  if (troubles.empty())
    manager_.tell(fmt::format("STATUS=Serving {}", listeners_.main_path()));
  else if (chips_.size() == 1)
    manager_.tell("STATUS=The TPM does not answer");
  else
    manager_.tell(
        fmt::format("STATUS=Serving {}, but for the chips that do not answer: {}", listeners_.main_path(), troubles));
}

void Server::on_replaced(std::size_t chip) {
  const host::TpmHost& host = chips_.host(chip);
  clients_.for_each([&](Client& client) {
    if (client.spoken_to() == chip) client.connection->speak_to(host.table(), host.chip().chip.max_command);
  });
}

void Server::on_over() {
  if (stopping_) log_.info("stopped");
  loop_.stop(exit_code_);
}

// --- Signals ---------------------------------------------------------------------------------------------------------

void Server::on_stop_signal() {
  if (stopping_) {
    log_.warning("told to stop again: leaving at once");
    audit_.last_words();
    log_.flush();
    std::_Exit(1);
  }
  begin_stop();
}

void Server::begin_stop() {
  stopping_ = true;
  reload_.stop();
  manager_.tell("STOPPING=1\nSTATUS=Emptying the TPM");
  log_.info("stopping; connections: {}", clients_.places().total());
  listeners_.close();
  admission_.close();
  chips_.stop();
  clients_.for_each([](Client& client) { client.connection->stop_reading(); });
}

}  // namespace tpmspace::daemon
