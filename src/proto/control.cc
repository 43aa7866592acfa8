#include "proto/control.h"

#include "proto/message_table.h"

namespace tpmspace::proto {
namespace {

constexpr auto kHelloType = static_cast<std::uint32_t>(MessageType::kHello);

tl::unexpected<Refusal> refuse(std::uint32_t type, wire::Rc code) {
  return tl::make_unexpected(Refusal{type & ~kReply, wire::from_manager(code), kProtocolVersion});
}

// The body of another version is not ours to judge.
bool is_hello_of_another_version(const ControlFrame& frame) {
  return frame.type == kHelloType && wire::Reader(frame.body).u16().value_or(kProtocolVersion) != kProtocolVersion;
}

}  // namespace

std::uint32_t type_of(const Request& request) {
  return message_table()[request.index()].number();
}

std::uint32_t type_of(const Reply& reply) {
  const auto* refusal = std::get_if<Refusal>(&reply);
  return refusal != nullptr ? refusal->type : message_table()[reply.index()].number();
}

wire::Bytes encode(const Request& request) {
  wire::Writer body;
  message_table()[request.index()].put_request(body, request);
  return encode_control(type_of(request), body.bytes());
}

wire::Bytes encode(const Reply& reply) {
  wire::Writer body;
  if (const auto* refusal = std::get_if<Refusal>(&reply)) {
    body.u32(refusal->code);
    if (refusal->type == kHelloType) body.u16(refusal->version);
  } else {
    body.u32(wire::rc::kSuccess);
    message_table()[reply.index()].put_reply(body, reply);
  }
  return encode_control(type_of(reply) | kReply, body.bytes());
}

tl::expected<Request, Refusal> decode_request(const ControlFrame& frame) {
  const MessageRow* row = find_message(frame.type);
  if (row == nullptr) return refuse(frame.type, wire::rc::kCommandCode);
  if (is_hello_of_another_version(frame)) return refuse(frame.type, wire::rc::kValue);
  wire::Reader reader(frame.body);
  auto request = row->get_request(reader);
  if (!request || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
  return *std::move(request);
}

std::optional<Reply> decode_reply(const ControlFrame& frame) {
  if ((frame.type & kReply) == 0) return std::nullopt;
  const std::uint32_t type = frame.type & ~kReply;
  wire::Reader reader(frame.body);
  const auto code = reader.u32();
  if (!code) return std::nullopt;
  if (*code != wire::rc::kSuccess) {
    Refusal refusal{type, *code, kProtocolVersion};
    if (type == kHelloType) refusal.version = reader.u16().value_or(kProtocolVersion);
    return refusal;
  }
  const MessageRow* row = find_message(type);
  return row != nullptr ? row->get_reply(reader) : std::nullopt;
}

}  // namespace tpmspace::proto
