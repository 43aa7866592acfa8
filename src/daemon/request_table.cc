#include "daemon/request_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "log/audit_sentences.h"
#include "proto/json.h"

namespace tpmspace::daemon {
namespace {

template <typename Message>
Handled call_handler(Handled (Requests::*handler)(Connection&, const Message&), Requests& requests, Connection& from,
                     const proto::Request& request) {
  return (requests.*handler)(from, std::get<Message>(request));
}
template <auto kHandler>
Handled by(Requests& requests, Connection& from, const proto::Request& request) {
  return call_handler(kHandler, requests, from, request);
}

std::string deed_of_order(const proto::Request& request) {
  return "orders a " + log::sentence_of(std::get<proto::OrderRequest>(request).what);
}
std::string deed_of_reload(const proto::Request& /*request*/) {
  return "has the configuration read again";
}
std::string deed_of_listeners(const proto::Request& /*request*/) {
  return "lists the listeners";
}
std::string deed_of_listener(const proto::Request& /*request*/) {
  return "makes or removes listeners";
}
std::string deed_of_use_chip(const proto::Request& request) {
  const std::string_view name = std::get<proto::UseChip>(request).name;
  return "chooses a chip, and it asked for " + proto::json_string(name.substr(0, limits::kMaxName));
}

using enum WhoMay;
using Type = proto::MessageType;
using Event = observe::AuditEvent;

// clang-format off
constexpr auto kRequests = std::to_array<RequestRow>({
    // type            who may          Narrow audited           deed               handler
    {Type::kHello,     kEveryone,       true,  {},               nullptr,           by<&Requests::hello>},
    {Type::kCancel,    kEveryone,       true,  {},               nullptr,           by<&Requests::cancel>},
    {Type::kLocality,  kEveryone,       true,  {},               nullptr,           by<&Requests::locality>},
    {Type::kStatus,    kEveryone,       true,  {},               nullptr,           by<&Requests::status>},
    {Type::kSessions,  kNotGuests,      true,  {},               nullptr,           by<&Requests::sessions>},
    {Type::kOrder,     kAdministrators, true,  Event::kOrder,    deed_of_order,     by<&Requests::order>},
    {Type::kNarrow,    kEveryone,       true,  Event::kNarrowed, nullptr,           by<&Requests::narrow>},
    {Type::kReload,    kAdministrators, true,  Event::kPolicy,   deed_of_reload,    by<&Requests::reload>},
    {Type::kListeners, kAdministrators, true,  {},               deed_of_listeners, by<&Requests::listeners>},
    {Type::kListener,  kAdministrators, true,  Event::kListener, deed_of_listener,  by<&Requests::change_listener>},
    {Type::kLearn,     kEveryone,       true,  {},               nullptr,           by<&Requests::learn>},
    {Type::kUseChip,   kForOtherChip,   true,  Event::kChip,     deed_of_use_chip,  by<&Requests::use_chip>},
    {Type::kClients,   kNotGuests,      true,  {},               nullptr,           by<&Requests::clients>},
    {Type::kWho,       kEveryone,       true,  {},               nullptr,           by<&Requests::who>},
    {Type::kShare,     kEveryone,       false, {},               nullptr,           by<&Requests::share>},
    {Type::kJoin,      kEveryone,       false, {},               nullptr,           by<&Requests::join>},
    {Type::kSync,      kEveryone,       true,  {},               nullptr,           by<&Requests::sync>},
});
// clang-format on

static_assert(kRequests.size() == std::variant_size_v<proto::Request>, "each request has a row");

// No permission is needed for the chip that the client uses already.
bool is_for_own_chip(const Asker& asker, const proto::Request& request) {
  const auto* wanted = std::get_if<proto::UseChip>(&request);
  return wanted != nullptr && wanted->name == asker.chip;
}

}  // namespace

std::span<const RequestRow> request_table() {
  return kRequests;
}

const RequestRow& request_row(proto::MessageType type) {
  return *std::find_if(kRequests.begin(), kRequests.end(), [&](const RequestRow& row) { return row.type == type; });
}

std::optional<std::string> reason_to_refuse(const RequestRow& row, const Asker& asker, const proto::Request& request) {
  const auto name = proto::find_message(static_cast<std::uint32_t>(row.type))->name;
  if (asker.is_narrowed && !row.after_narrow)
    return fmt::format("{} is not for a connection that gave up rights", name);
  if (row.who == kEveryone || asker.administers) return std::nullopt;
  if (row.who == kNotGuests && !asker.is_guest) return std::nullopt;
  if (row.who == kNotGuests)
    return fmt::format("{} is not for a connection that gave up rights, or that joined another connection", name);
  if (row.who == kForOtherChip && is_for_own_chip(asker, request)) return std::nullopt;
  return "only an administrator " + row.deed(request);
}

}  // namespace tpmspace::daemon
