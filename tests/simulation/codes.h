// Response codes that only a TPM says, and so only the model needs. Source: TPM 2.0 library, Part 2, 6.6.
#pragma once

#include "wire/rc.h"

namespace tpmspace::simulation::codes {

inline constexpr wire::Rc kExclusive = 0x121;
inline constexpr wire::Rc kAuthType = 0x124;
inline constexpr wire::Rc kAuthUnavailable = 0x12F;
inline constexpr wire::Rc kNvDefined = 0x14C;
// Format one.
inline constexpr wire::Rc kHash = 0x083;
inline constexpr wire::Rc kMode = 0x089;
inline constexpr wire::Rc kType = 0x08A;
inline constexpr wire::Rc kRange = 0x08D;
inline constexpr wire::Rc kNonce = 0x08F;
inline constexpr wire::Rc kScheme = 0x092;
inline constexpr wire::Rc kSymmetric = 0x096;
inline constexpr wire::Rc kKey = 0x09C;
inline constexpr wire::Rc kPolicyFail = 0x09D;
inline constexpr wire::Rc kTicket = 0x0A0;
inline constexpr wire::Rc kPolicyCc = 0x0A4;

[[nodiscard]] constexpr bool is_format_one(wire::Rc code) {
  return (code & 0x080) != 0;
}
// Names the handle (from 0) at fault, where the format has room for it.
[[nodiscard]] constexpr wire::Rc at_handle(wire::Rc code, std::size_t index) {
  return is_format_one(code) ? wire::rc::in_handle(code, static_cast<unsigned>(index) + 1) : code;
}
[[nodiscard]] constexpr wire::Rc at_session(wire::Rc code, std::size_t index) {
  return is_format_one(code) ? wire::rc::in_session(code, static_cast<unsigned>(index) + 1) : code;
}

}  // namespace tpmspace::simulation::codes
