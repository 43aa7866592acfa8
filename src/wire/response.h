// Responses: builds the manager's, and parses a TPM's without trust.
//
// Source: TPM 2.0 library, Part 1, 18.9 (response structure).
#pragma once

#include <cstdint>
#include <optional>
#include <tl/expected.hpp>
#include <vector>

#include "wire/bytes.h"
#include "wire/command_table.h"
#include "wire/handle.h"
#include "wire/rc.h"

namespace tpmspace::wire {

// Ten bytes: tag 8001, size 10, code. The error response of a TPM (or of the manager, with layer 11 in `code`).
[[nodiscard]] Bytes error_response(Rc code);
// The same with the resource manager's layer added to `code`.
[[nodiscard]] Bytes manager_error(Rc code);
// A success without sessions: header, then `parameters`.
[[nodiscard]] Bytes success_response(ByteView parameters);

// One authorization of a response. Offsets are from the response's first byte.
struct ResponseAuthorization {
  std::uint8_t attributes = 0;
  std::size_t nonce_at = 0, nonce_size = 0;
  std::size_t hmac_at = 0, hmac_size = 0;
};

class Response {
 public:
  // Checks header, size and, on success, that handle, parameter area and authorizations match `row` and
  // `with_sessions`. Nullopt: not a TPM response to the command.
  [[nodiscard]] static std::optional<Response> parse(Bytes message, const CommandRow& row, bool with_sessions);

  [[nodiscard]] Rc code() const { return code_; }
  [[nodiscard]] bool ok() const { return code_ == rc::kSuccess; }
  [[nodiscard]] ByteView bytes() const { return bytes_; }
  // Present iff ok() and the row has a response handle.
  [[nodiscard]] std::optional<TpmHandle> handle() const;
  // Precondition: handle() has a value.
  void replace_handle(ClientHandle handle);
  // The parameter area, without its size field; empty unless ok().
  [[nodiscard]] ByteView parameters() const { return ByteView(bytes_).subspan(parameters_at_, parameters_size_); }
  // In the order of the command's authorizations; empty unless ok() and with sessions.
  [[nodiscard]] const std::vector<ResponseAuthorization>& authorizations() const { return authorizations_; }
  // Puts an HMAC where the TPM sent an empty one. Precondition: index < authorizations().size(), hmac.size() <= 65535.
  void set_hmac(std::size_t index, ByteView hmac);
  [[nodiscard]] Bytes take() && { return std::move(bytes_); }

 private:
  Response() = default;

  Bytes bytes_;
  Rc code_ = 0;
  bool has_handle_ = false;
  std::size_t parameters_at_ = 0, parameters_size_ = 0;
  std::vector<ResponseAuthorization> authorizations_;
};

}  // namespace tpmspace::wire
