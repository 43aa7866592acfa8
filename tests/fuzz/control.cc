// Decoding control messages is total in both directions; a decoded message encodes to bytes that decode to the same
// message.
//
// Input: the message's type, its body.

#include "proto/control.h"

#include <optional>

#include "fuzz.h"
#include "proto/status.h"

namespace tpmspace::fuzz {
namespace {

using proto::ControlFrame;

// The frame's bytes as the other side's reader gives them.
std::optional<ControlFrame> arrive(ByteView bytes) {
  proto::FrameReader reader(4096, proto::kMaxReplySize);
  reader.feed(bytes);
  auto arrival = reader.next();
  if (!arrival || !std::holds_alternative<ControlFrame>(*arrival)) return std::nullopt;
  require(reader.buffered() == 0, "a frame is its own bytes");
  return std::get<ControlFrame>(std::move(*arrival));
}

void check_request(const ControlFrame& frame) {
  const auto request = proto::decode_request(frame);
  if (!request) {
    const auto& refusal = request.error();
    require(refusal.code != 0 && wire::layer_of(refusal.code) == 11, "a refusal has our layer");
    const auto arrived = arrive(proto::encode(proto::Reply(refusal)));
    require(arrived.has_value(), "a refusal can be sent");
    const auto reply = proto::decode_reply(*arrived);
    require(reply && proto::type_of(*reply) == refusal.type, "a refusal is understood");
    return;
  }
  const auto bytes = proto::encode(*request);
  require(wire::same_bytes(bytes, proto::encode_control(frame.type, frame.body)), "a request re-encodes identically");
}

void check_reply(const ControlFrame& frame) {
  const auto reply = proto::decode_reply(frame);
  if (!reply) return;
  const auto bytes = proto::encode(*reply);
  require(bytes.size() <= proto::kMaxReplySize, "a reply fits");
  const auto arrived = arrive(bytes);
  require(arrived.has_value(), "a reply can be sent");
  const auto again = proto::decode_reply(*arrived);
  require(again.has_value(), "a reply is understood again");
  require(wire::same_bytes(proto::encode(*again), bytes), "a reply re-encodes to itself");
}

void check_status(ByteView body) {
  const auto status = proto::decode_status(body);
  if (!status) return;
  const auto bytes = proto::encode_status(*status);
  const auto again = proto::decode_status(bytes);
  require(again && wire::same_bytes(proto::encode_status(*again), bytes), "a status re-encodes to itself");
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  fuzz::Input input({data, size});
  proto::ControlFrame frame;
  frame.type = input.u32();
  frame.body = wire::to_bytes(input.rest());
  fuzz::check_request(frame);
  fuzz::check_reply(frame);
  fuzz::check_status(input.rest());
  return 0;
}
