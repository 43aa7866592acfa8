#include "tcti/session.h"

#include <algorithm>

namespace tpmspace::tcti {
namespace {

// The manager answers control messages at once; one that is silent for so long is not going to.
constexpr int kControlTimeoutMs = 30'000;

TSS2_RC refusal_to_tcti(wire::Rc code) {
  switch (wire::without_layer(code)) {
    case wire::rc::kCommandCode:
      return TSS2_TCTI_RC_NOT_IMPLEMENTED;
    case wire::rc::kValue:
      return TSS2_TCTI_RC_BAD_VALUE;
    case wire::rc::kLocality:
      return TSS2_TCTI_RC_NOT_SUPPORTED;
    default:
      return TSS2_TCTI_RC_NOT_PERMITTED;
  }
}

// What can be sent as a frame: a header that tells its own size, and not a message to the manager.
bool is_command(wire::ByteView bytes) {
  wire::Reader reader(bytes);
  const auto tag = reader.u16();
  const auto size = reader.u32();
  return tag && size && bytes.size() >= proto::kFrameHeaderSize && *size == bytes.size() && *tag != proto::kControlTag;
}

}  // namespace

TSS2_RC to_tcti(const client::Error& error) {
  using Kind = client::Error::Kind;
  switch (error.kind) {
    case Kind::kNoService:
    case Kind::kForbidden:
      return TSS2_TCTI_RC_NO_CONNECTION;
    case Kind::kBadPath:
      return TSS2_TCTI_RC_BAD_VALUE;
    case Kind::kProtocol:
      return TSS2_TCTI_RC_MALFORMED_RESPONSE;
    case Kind::kRefused:
      return refusal_to_tcti(error.code);
    case Kind::kClosed:
    case Kind::kTimeout:
    case Kind::kSystem:
      return TSS2_TCTI_RC_IO_ERROR;
  }
  return TSS2_TCTI_RC_GENERAL_FAILURE;
}

TSS2_RC Session::transmit(wire::ByteView command) {
  if (awaits_ != Awaits::kCommand) return TSS2_TCTI_RC_BAD_SEQUENCE;
  if (!is_command(command)) return TSS2_TCTI_RC_BAD_VALUE;
  if (const auto sent = connection_.send(command); !sent) return to_tcti(sent.error());
  awaits_ = Awaits::kResponse;
  return TSS2_RC_SUCCESS;
}

TSS2_RC Session::receive(std::size_t& size, std::uint8_t* response, std::int32_t timeout_ms) {
  if (awaits_ != Awaits::kResponse) return TSS2_TCTI_RC_BAD_SEQUENCE;
  if (timeout_ms < TSS2_TCTI_TIMEOUT_BLOCK) return TSS2_TCTI_RC_BAD_VALUE;
  if (!response_) {
    auto received = connection_.receive(timeout_ms);
    if (!received) {
      awaits_ = Awaits::kCommand;  // no response will come
      return to_tcti(received.error());
    }
    if (!*received) return TSS2_TCTI_RC_TRY_AGAIN;
    response_ = std::move(*received);
  }
  const std::size_t room = size;
  size = response_->size();
  if (response == nullptr) return TSS2_RC_SUCCESS;
  if (room < size) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
  std::copy(response_->begin(), response_->end(), response);
  response_.reset();
  awaits_ = Awaits::kCommand;
  return TSS2_RC_SUCCESS;
}

TSS2_RC Session::cancel() {
  if (awaits_ != Awaits::kResponse) return TSS2_TCTI_RC_BAD_SEQUENCE;
  if (response_) return TSS2_RC_SUCCESS;  // too late, as it may always be
  if (const auto posted = connection_.post_cancel(); !posted) return to_tcti(posted.error());
  return TSS2_RC_SUCCESS;
}

TSS2_RC Session::set_locality(std::uint8_t locality) {
  if (awaits_ != Awaits::kCommand) return TSS2_TCTI_RC_BAD_SEQUENCE;
  if (const auto set = connection_.set_locality(locality, kControlTimeoutMs); !set) return to_tcti(set.error());
  return TSS2_RC_SUCCESS;
}

tl::expected<void, client::Error> Session::use_chip(const std::string& name) {
  return connection_.use_chip(name, kControlTimeoutMs);
}

}  // namespace tpmspace::tcti
