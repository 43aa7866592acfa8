// The control messages, one row for each: its number, when it may come, and the fields of the request and the reply.
//
// Idea: all knowledge about a message's bytes is in its row. `encode`, `decode_request` and `decode_reply` look the row
// up, so a new message needs its types (proto/control.h) and its row. The rows have the order of the alternatives of
// `Request` and `Reply`; the compiler checks the order.
// Threads: constants. Errors: decoding gives nullopt. Source: proto/control.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proto/control.h"
#include "wire/bytes.h"

namespace tpmspace::proto {

// When a request may come. Any other time is answered with SEQUENCE.
enum class Stage : std::uint8_t {
  kAnyTime,
  kAfterHello,
  kBeforeCommands,  // after Hello, and before the connection's first TPM command
};

struct MessageRow {
  MessageType type;
  std::string_view name;  // as in proto/control.h
  Stage stage;
  std::size_t index;  // of the alternatives in Request and in Reply
  // Precondition: the variant has the row's message.
  void (*put_request)(wire::Writer& out, const Request& request);
  void (*put_reply)(wire::Writer& out, const Reply& reply);
  // Bytes may be left in the reader.
  std::optional<Request> (*get_request)(wire::Reader& in);
  std::optional<Reply> (*get_reply)(wire::Reader& in);

  [[nodiscard]] constexpr std::uint32_t number() const { return static_cast<std::uint32_t>(type); }
};

[[nodiscard]] std::span<const MessageRow> message_table();
// Null: no message has this number.
[[nodiscard]] const MessageRow* find_message(std::uint32_t number);

}  // namespace tpmspace::proto
