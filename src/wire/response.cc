#include "wire/response.h"

#include "wire/command.h"

namespace tpmspace::wire {

Bytes error_response(Rc code) {
  return Writer().u16(kTagNoSessions).u32(kHeaderSize).u32(code).take();
}

Bytes success_response(ByteView parameters) {
  const auto size = static_cast<std::uint32_t>(kHeaderSize + parameters.size());
  return Writer().u16(kTagNoSessions).u32(size).u32(rc::kSuccess).raw(parameters).take();
}

namespace {

// The authorizations of a response: nonce, attributes, hmac, until nothing is left. False: malformed.
bool read_session_attributes(ByteView area, std::vector<std::uint8_t>& out) {
  Reader in(area);
  while (!in.empty()) {
    if (out.size() == kMaxAuthorizations) return false;
    const auto nonce = in.tpm2b();
    const auto attributes = in.u8();
    const auto hmac = in.tpm2b();
    if (!nonce || !attributes || !hmac) return false;
    out.push_back(*attributes);
  }
  return true;
}

}  // namespace

std::optional<Response> Response::parse(Bytes message, const CommandRow& row, bool with_sessions) {
  const auto header = read_header(message);
  if (!header || header->size != message.size()) return std::nullopt;
  if (header->tag != kTagNoSessions && header->tag != kTagSessions) return std::nullopt;

  Response out;
  out.code_ = header->code;
  if (!out.ok()) {
    // A refusal is a bare header.
    if (message.size() != kHeaderSize || header->tag != kTagNoSessions) return std::nullopt;
    out.bytes_ = std::move(message);
    return out;
  }
  if ((header->tag == kTagSessions) != with_sessions) return std::nullopt;

  Reader in(ByteView(message).subspan(kHeaderSize));
  out.has_handle_ = row.has_response_handle();
  if (out.has_handle_ && !in.u32()) return std::nullopt;
  std::size_t parameters_size = in.remaining();
  if (with_sessions) {
    const auto size = in.u32();
    if (!size || *size > in.remaining()) return std::nullopt;
    parameters_size = *size;
  }
  out.parameters_at_ = kHeaderSize + in.offset();
  out.parameters_size_ = parameters_size;
  if (!in.take(parameters_size)) return std::nullopt;
  if (with_sessions && !read_session_attributes(in.rest(), out.session_attributes_)) return std::nullopt;
  out.bytes_ = std::move(message);
  return out;
}

std::optional<TpmHandle> Response::handle() const {
  if (!has_handle_ || !ok()) return std::nullopt;
  Reader in(bytes().subspan(kHeaderSize));
  return TpmHandle{in.u32().value_or(0)};
}

void Response::replace_handle(ClientHandle handle) {
  put_u32(bytes_, kHeaderSize, handle.value);
}

}  // namespace tpmspace::wire
