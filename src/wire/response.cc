#include "wire/response.h"

#include "wire/command.h"

namespace tpmspace::wire {

Bytes error_response(Rc code) {
  return Writer().u16(kTagNoSessions).u32(kHeaderSize).u32(code).take();
}

Bytes manager_error(Rc code) {
  return error_response(from_manager(code));
}

Bytes success_response(ByteView parameters) {
  const auto size = static_cast<std::uint32_t>(kHeaderSize + parameters.size());
  return Writer().u16(kTagNoSessions).u32(size).u32(rc::kSuccess).raw(parameters).take();
}

namespace {

// Reads the authorizations of a response from `at` to the end: nonce, attributes, hmac each. False: malformed.
bool read_authorizations(ByteView response, std::size_t at, std::vector<ResponseAuthorization>& out) {
  Reader in(response.subspan(at));
  while (!in.empty()) {
    if (out.size() == kMaxAuthorizations) return false;
    const auto nonce = in.tpm2b();
    const std::size_t nonce_end = at + in.offset();
    const auto attributes = in.u8();
    const auto hmac = in.tpm2b();
    if (!nonce || !attributes || !hmac) return false;
    const std::size_t end = at + in.offset();
    out.push_back({*attributes, nonce_end - nonce->size(), nonce->size(), end - hmac->size(), hmac->size()});
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
    // An error response is a bare header.
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
  if (with_sessions && !read_authorizations(message, kHeaderSize + in.offset(), out.authorizations_))
    return std::nullopt;
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

void Response::set_hmac(std::size_t index, ByteView hmac) {
  ResponseAuthorization& authorization = authorizations_[index];
  const std::size_t size_at = authorization.hmac_at - 2;
  const ByteView old(bytes_);
  Bytes out = Writer()
                  .raw(old.first(size_at))
                  .tpm2b(hmac)
                  .raw(old.subspan(authorization.hmac_at + authorization.hmac_size))
                  .take();
  put_u32(out, 2, static_cast<std::uint32_t>(out.size()));
  const std::size_t grown = out.size() - old.size();  // may wrap if the response shrank
  bytes_ = std::move(out);
  authorization.hmac_size = hmac.size();
  for (std::size_t i = index + 1; i < authorizations_.size(); ++i) {
    authorizations_[i].nonce_at += grown;
    authorizations_[i].hmac_at += grown;
  }
}

}  // namespace tpmspace::wire
