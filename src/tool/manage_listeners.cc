#include "tool/manage_listeners.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <tl/expected.hpp>

#include "client/connection.h"
#include "proto/json.h"
#include "proto/listener_text.h"
#include "tool/accounts.h"
#include "tool/exit_code.h"
#include "tool/time_limits.h"
#include "wire/rc.h"

namespace tpmspace::tool {
namespace {

std::string listener_error(const client::Error& error) {
  return error.code == wire::from_manager(wire::rc::kDisabled) ? error.what + only_administrators() : error.what;
}

tl::expected<proto::ListenerEntry, std::string> entry_of(const ListenerOptions& options) {
  const auto fault = [](const std::string& sentence) { return tl::make_unexpected(sentence); };
  proto::ListenerEntry out;
  out.name = options.name;
  out.path = options.path;
  if (!options.owner.empty()) {
    const auto uid = user_named(options.owner);
    if (!uid) return fault("--owner: there is no user \"" + options.owner + "\"");
    out.uid = *uid;
  }
  if (!options.group.empty()) {
    const auto gid = group_named(options.group);
    if (!gid) return fault("--group: there is no group \"" + options.group + "\"");
    out.gid = *gid;
  }
  const auto mode = options.mode.empty() ? proto::usual_mode(!options.owner.empty(), !options.group.empty())
                                         : number_of(options.mode, 8);
  if (!mode || *mode > 0777U) return fault("--mode: the value must be permission bits in octal, such as 0660");
  out.mode = *mode;
  out.profile = options.profile;
  const int locality = options.locality;
  if (locality > 255 || (locality > 4 && locality < 32))
    return fault("--locality: the value must be a number from 0 to 4 or from 32 to 255");
  if (locality >= 0) out.locality = static_cast<std::uint8_t>(locality);
  out.limit = options.connections;
  out.chip = options.chip;
  out.separate_users = options.separate_users;
  return out;
}

int tell(const tl::expected<proto::Outcome, client::Error>& outcome) {
  if (!outcome) return fail(listener_error(outcome.error()));
  if (!outcome->done) return fail(outcome->sentence);
  return print(outcome->sentence + "\n") ? kExitOk : kExitFailure;
}

std::string for_shell(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:=,";
  if (text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// The manager chooses the path if the options name none.
int tell_of_new(client::Connection& connection, const std::string& name) {
  const auto listeners = connection.listeners(kChangeMs);
  if (!listeners) return fail(listener_error(listeners.error()));
  const auto made = std::find_if(listeners->begin(), listeners->end(),
                                 [&](const proto::ListenerEntry& one) { return one.name == name; });
  if (made == listeners->end()) return kExitOk;  // another administrator has removed the listener since
  return print(how_to_use(made->path)) ? kExitOk : kExitFailure;
}

}  // namespace

std::string how_to_use(const std::string& path) {
  // A comma ends path=.
  const std::string tcti = path.find(',') == std::string::npos ? "space:path=" + path : "space:" + path;
  return fmt::format("for programs that use this listener: export TPMSPACE_SOCKET={} TPM2TOOLS_TCTI={}\n",
                     for_shell(path), for_shell(tcti));
}

std::string listeners_text(const std::vector<proto::ListenerEntry>& listeners) {
  constexpr std::size_t kGap = 2, kConnections = 11;
  constexpr std::string_view kName = "listener";
  std::size_t width = kName.size();
  for (const auto& listener : listeners) width = std::max(width, listener.name.size());
  std::string out = fmt::format("{:<{}}{:<{}}path\n", kName, width + kGap, "connections", kConnections + kGap);
  for (const auto& listener : listeners) {
    const std::string limit = listener.limit == 0 ? "" : fmt::format(" of {}", listener.limit);
    out += fmt::format("{:<{}}{:<{}}{}\n", listener.name, width + kGap,
                       fmt::format("{}{}", listener.connections, limit), kConnections + kGap, listener.path);
    out += fmt::format("{:{}}{}{}\n", "", width + kGap, proto::described(listener),
                       listener.at_run_time ? ", until tpmspaced ends" : "");
  }
  return out;
}

std::string listeners_json(const std::vector<proto::ListenerEntry>& listeners) {
  const auto id = [](std::uint32_t value) {
    return value == proto::kKeep ? std::string("null") : std::to_string(value);
  };
  std::string out = "[";
  for (const auto& listener : listeners)
    out += fmt::format(
        "{}\n  {{\"name\": {}, \"path\": {}, \"mode\": \"{:04o}\", \"uid\": {}, \"gid\": {}, \"profile\": {}, "
        "\"locality\": {}, \"chip\": {}, \"chip_lost\": {}, \"separate_users\": {}, \"connections\": {}, "
        "\"limit\": {}, \"at_run_time\": {}}}",
        out.size() > 1 ? "," : "", proto::json_string(listener.name), proto::json_string(listener.path), listener.mode,
        id(listener.uid), id(listener.gid), listener.profile.empty() ? "null" : proto::json_string(listener.profile),
        listener.locality ? std::to_string(*listener.locality) : "null",
        listener.chip.empty() ? "null" : proto::json_string(listener.chip), listener.chip_lost, listener.separate_users,
        listener.connections, listener.limit, listener.at_run_time);
  return out + "\n]\n";
}

int manage_listeners(const ListenerOptions& options) {
  auto connection = connect_to_administer(options.manager);
  if (!connection) return fail(connection.error().what);
  switch (options.what) {
    case ListenerOptions::What::kList: {
      const auto listeners = connection->listeners(kChangeMs);
      if (!listeners) return fail(listener_error(listeners.error()));
      return print(options.json ? listeners_json(*listeners) : listeners_text(*listeners)) ? kExitOk : kExitFailure;
    }
    case ListenerOptions::What::kAdd: {
      const auto entry = entry_of(options);
      if (!entry) return fail(entry.error(), kExitUsage);
      const int code = tell(connection->change_listener(*entry, kChangeMs));
      return code == kExitOk ? tell_of_new(*connection, entry->name) : code;
    }
    case ListenerOptions::What::kRemove:
      return tell(connection->change_listener(proto::RemoveListener{options.name}, kChangeMs));
  }
  return kExitUsage;
}

int reload_policy(const ManagerPlace& manager) {
  auto connection = connect_to_administer(manager);
  if (!connection) return fail(connection.error().what);
  return tell(connection->reload(kChangeMs));
}

}  // namespace tpmspace::tool
