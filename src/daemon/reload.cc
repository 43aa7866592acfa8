#include "daemon/reload.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace tpmspace::daemon {

Reload::Reload(loop::EventLoop& loop, log::Log& log, guard::Access access, std::string config_file,
               Rereading::Reader reader, access::AccessControl& access_control, loop::Listeners& listeners,
               Serves serves, Done done)
    : log_(log),
      config_file_(std::move(config_file)),
      serves_(std::move(serves)),
      done_(std::move(done)),
      access_(std::move(access)),
      access_control_(access_control),
      listeners_(listeners),
      rereading_(loop, std::move(reader), [this](Rereading::Result read, const std::vector<host::ClientId>& for_whom) {
        take(std::move(read), for_whom);
      }) {}

void Reload::take(Rereading::Result read, const std::vector<host::ClientId>& for_whom) {
  if (stopped_) return;
  read = std::move(read).and_then([this](Rereading::Read all) -> Rereading::Result {
    if (auto fault = not_served(all.access)) return tl::unexpected(*std::move(fault));
    return all;
  });
  proto::Outcome out;
  if (read) {
    out = apply(*std::move(read));
  } else {
    out.sentence = "nothing was changed: " + read.error();
    log_.error("{}", out.sentence);
  }
  done_(out, for_whom);
}

proto::Outcome Reload::apply(Rereading::Read read) {
  access_ = std::move(read.access);
  access_control_.set_policy(std::make_shared<const guard::Policy>(access_.policy), std::move(read.subordinates));
  const auto troubles = listeners_.replace(access_.listeners);
  proto::Outcome out{.done = troubles.empty(), .sentence = {}};
  out.sentence = read.has_file
                     ? "the configuration was read again; profiles, rules, namespaces and listeners are as it says now"
                     : fmt::format(
                           "the configuration was read again: there is no file {}, so there are no rules, "
                           "namespaces, listeners and profiles but the standard ones",
                           config_file_);
  for (const auto& trouble : troubles) out.sentence += "; but " + trouble;
  if (!read.pending.empty())
    out.sentence += "; these keys take effect when tpmspaced is restarted: " + config::text_of(read.pending);
  return out;
}

std::optional<std::string> Reload::not_served(const guard::Access& access) const {
  const auto is_served = [&](const std::string& name) {
    return std::any_of(access.chips.begin(), access.chips.end(),
                       [&](const guard::Chip& one) { return one.name == name && serves_(one); });
  };
  const auto sentence = [&](std::string_view what, const std::string& name, const std::optional<std::string>& chip) {
    return !chip || is_served(*chip)
               ? std::nullopt
               : std::optional(
                     fmt::format("the {} \"{}\" has the chip \"{}\", which is served as the configuration says "
                                 "from the next start on: restart tpmspaced",
                                 what, name, *chip));
  };
  for (const guard::Listener& listener : access.listeners)
    if (auto fault = sentence("listener", listener.name, listener.chip)) return fault;
  for (const auto& one : access.policy.namespaces())
    if (auto fault = sentence("namespace", one.name, one.chip)) return fault;
  return std::nullopt;
}

}  // namespace tpmspace::daemon
