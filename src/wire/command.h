// A TPM command, parsed once at the entry and read by every later room.
//
// Idea: parsing is total. Any bytes give either a `Command` or the response code that a TPM gives. Later rooms check
// the facts that the parser cannot know (do the handles exist? are the parameters right?).
// The command owns its bytes; views into the bytes are offsets, so a Command can be copied and moved freely.
// Threads: a value.
// Source: TPM 2.0 library, Part 1, 18 (command structure); Part 3, 5 (command processing). Where libtpms and the
// specification differ, libtpms wins: docs/parsing.md lists the rows.
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

inline constexpr std::size_t kHeaderSize = 10;
inline constexpr std::uint16_t kTagNoSessions = 0x8001;
inline constexpr std::uint16_t kTagSessions = 0x8002;

// tag(2) size(4) code(4).
struct Header {
  std::uint16_t tag = 0;
  std::uint32_t size = 0;  // of the whole message, header included
  std::uint32_t code = 0;  // command code, or response code in a response
};
// Needs kHeaderSize bytes; otherwise nullopt. Checks no values.
[[nodiscard]] std::optional<Header> read_header(ByteView message);

// TPMA_SESSION (Part 2, 8.4).
namespace session_attribute {
inline constexpr std::uint8_t kContinue = 0x01;
inline constexpr std::uint8_t kAuditExclusive = 0x02;
inline constexpr std::uint8_t kAuditReset = 0x04;
inline constexpr std::uint8_t kReserved = 0x18;
inline constexpr std::uint8_t kDecrypt = 0x20;
inline constexpr std::uint8_t kEncrypt = 0x40;
inline constexpr std::uint8_t kAudit = 0x80;
}  // namespace session_attribute

// One entry of the authorization area. Offsets are from the command's first byte.
struct Authorization {
  ClientHandle handle;
  std::size_t at = 0;  // of the handle
  std::uint8_t attributes = 0;
  std::size_t nonce_at = 0, nonce_size = 0;
  std::size_t hmac_at = 0, hmac_size = 0;

  [[nodiscard]] bool is_password() const { return handle.value == kPasswordSession; }
  [[nodiscard]] bool continues() const { return (attributes & session_attribute::kContinue) != 0; }
};

class Command {
 public:
  // `max_size`: the chip's TPM_PT_MAX_COMMAND_SIZE. The table must outlive the command.
  // On failure: the TPM's code, without a layer.
  [[nodiscard]] static tl::expected<Command, Rc> parse(Bytes message, const CommandTable& table, std::size_t max_size);

  [[nodiscard]] ByteView bytes() const { return bytes_; }
  [[nodiscard]] const CommandRow& row() const { return *row_; }
  [[nodiscard]] CommandCode code() const { return row_->code; }
  [[nodiscard]] bool has_sessions() const { return has_sessions_; }

  [[nodiscard]] std::size_t handle_count() const { return row_->handles; }
  // Precondition: index < handle_count().
  [[nodiscard]] ClientHandle handle(std::size_t index) const;
  [[nodiscard]] static constexpr std::size_t handle_at(std::size_t index) { return kHeaderSize + 4 * index; }

  [[nodiscard]] const std::vector<Authorization>& authorizations() const { return authorizations_; }

  [[nodiscard]] std::size_t parameters_at() const { return parameters_at_; }
  [[nodiscard]] ByteView parameters() const { return bytes().subspan(parameters_at_); }
  // Whether a session encrypts the first parameter (which is then unreadable), or requests an encrypted response
  // parameter.
  [[nodiscard]] bool first_parameter_encrypted() const;
  [[nodiscard]] bool first_response_parameter_encrypted() const;

 private:
  Command() = default;

  Bytes bytes_;
  const CommandRow* row_ = nullptr;
  bool has_sessions_ = false;
  std::vector<Authorization> authorizations_;
  std::size_t parameters_at_ = 0;
};

}  // namespace tpmspace::wire
