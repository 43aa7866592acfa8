// What a TCTI context does, as C++: the state machine of the TCTI between two C functions.
//
// Idea: a context awaits a command or a response (Awaits). Each call is judged against that first (BAD_SEQUENCE), then
// done on the connection. A response is taken from the socket whole and kept until the caller has room for it.
// Threads: one at a time, as the TCTI specification says. No signals, no threads of its own.
// Units: milliseconds. Sizes: octets.
// Errors: TSS2_RC with the TCTI layer. After the connection is lost every call gives IO_ERROR.
// Source: TSS 2.0 TPM Command Transmission Interface (TCTI) API Specification 1.0.
#pragma once

#include <tss2/tss2_tcti.h>

#include <cstdint>
#include <optional>

#include "client/connection.h"

namespace tpmspace::tcti {

class Session {
 public:
  explicit Session(client::Connection connection) : connection_(std::move(connection)) {}

  [[nodiscard]] TSS2_RC transmit(wire::ByteView command);
  // `response` null: only the size is asked. On INSUFFICIENT_BUFFER *size is what is needed and the response is kept.
  [[nodiscard]] TSS2_RC receive(std::size_t& size, std::uint8_t* response, std::int32_t timeout_ms);
  [[nodiscard]] TSS2_RC cancel();
  // Waits for the manager's answer, a bounded time.
  [[nodiscard]] TSS2_RC set_locality(std::uint8_t locality);
  // Before the first command.
  [[nodiscard]] tl::expected<void, client::Error> use_chip(const std::string& name);
  [[nodiscard]] int fd() const { return connection_.fd(); }

 private:
  enum class Awaits : std::uint8_t { kCommand, kResponse };

  client::Connection connection_;
  Awaits awaits_ = Awaits::kCommand;
  std::optional<wire::Bytes> response_;  // whole, not yet given to the caller
};

// The TCTI's word for a client's error.
[[nodiscard]] TSS2_RC to_tcti(const client::Error& error);

}  // namespace tpmspace::tcti
