// The control requests, one row for each: who may ask, what is audited, and the handler.
//
// Idea: the model is OpenSSH's monitor. The row decides before the handler runs, so no handler checks permissions by
// itself. When a request may come (before Hello, before the first command) is the protocol's: proto/message_table.h.
// Threads: constants. Errors: a refusal is a sentence for the audit record; the client gets DISABLED.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/requests.h"
#include "observe/audit.h"
#include "proto/message_table.h"

namespace tpmspace::daemon {

enum class WhoMay : std::uint8_t {
  kEveryone,
  kNotGuests,       // a guest (ClientIdentity::is_guest) only as an administrator
  kAdministrators,  // permissions with `administer`
  kForOtherChip,    // as kAdministrators, but every client for the chip that it uses already
};

struct RequestRow {
  proto::MessageType type;
  WhoMay who;
  bool after_narrow;  // a connection that gave up rights may still ask
  // The event of the handler's audit record; nullopt: only refusals are recorded.
  std::optional<observe::AuditEvent> audited;
  // What the client asks for, after "only an administrator". Null: the row is not for administrators.
  std::string (*deed)(const proto::Request& request);
  Handled (*handle)(Requests& requests, Connection& from, const proto::Request& request);
};

// What the table must know of the asking client.
struct Asker {
  bool is_narrowed = false;
  bool is_guest = false;
  bool administers = false;
  std::string_view chip = {};
};

[[nodiscard]] std::span<const RequestRow> request_table();
[[nodiscard]] const RequestRow& request_row(proto::MessageType type);
// Nullopt: the client may ask. Otherwise the reason, without its full stop.
[[nodiscard]] std::optional<std::string> reason_to_refuse(const RequestRow& row, const Asker& asker,
                                                          const proto::Request& request);

}  // namespace tpmspace::daemon
