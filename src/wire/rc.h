// TPM response codes, and the layer that tells the sender.
//
// Idea: a response of the manager in place of the TPM has the best matching TPM code with the resource manager's layer
// (11) in bits 16..23, as Linux and tpm2-abrmd send it and tpm2_rc_decode reads it ("rmt:...").
// Source: TPM 2.0 library, Part 2, 6.6 (TPM_RC); TSS 2.0 Overview and Common Structures, 3.9 (layers).
// Format-one codes (bit 7 set) name the fault: a parameter (bit 6), a handle or a session, numbered from 1.
#pragma once

#include <cstdint>
#include <string>

namespace tpmspace::wire {

using Rc = std::uint32_t;

inline constexpr Rc kManagerLayer = 11U << 16;  // TSS2_RESMGR_RC_LAYER

namespace rc {
inline constexpr Rc kSuccess = 0x000;
inline constexpr Rc kBadTagTpm12 = 0x01E;
// Format zero, errors (0x100 + n).
inline constexpr Rc kInitialize = 0x100;
inline constexpr Rc kFailure = 0x101;
inline constexpr Rc kSequence = 0x103;
inline constexpr Rc kDisabled = 0x120;
inline constexpr Rc kAuthMissing = 0x125;
inline constexpr Rc kPcr = 0x127;
inline constexpr Rc kPcrChanged = 0x128;
inline constexpr Rc kTooManyContexts = 0x12E;
inline constexpr Rc kCommandSize = 0x142;
inline constexpr Rc kCommandCode = 0x143;
inline constexpr Rc kAuthSize = 0x144;
inline constexpr Rc kAuthContext = 0x145;
inline constexpr Rc kNvAuthorization = 0x149;
inline constexpr Rc kBadContext = 0x150;
// Format zero, warnings (0x900 + n): try again, possibly after a change.
inline constexpr Rc kContextGap = 0x901;
inline constexpr Rc kObjectMemory = 0x902;
inline constexpr Rc kSessionMemory = 0x903;
inline constexpr Rc kMemory = 0x904;
inline constexpr Rc kSessionHandles = 0x905;
inline constexpr Rc kObjectHandles = 0x906;
inline constexpr Rc kLocality = 0x907;
inline constexpr Rc kYielded = 0x908;
inline constexpr Rc kCanceled = 0x909;
inline constexpr Rc kTesting = 0x90A;
inline constexpr Rc kReferenceH0 = 0x910;  // + handle index 0..6
inline constexpr Rc kReferenceS0 = 0x918;  // + session index 0..6
inline constexpr Rc kNvRate = 0x920;
inline constexpr Rc kLockout = 0x921;
inline constexpr Rc kRetry = 0x922;
inline constexpr Rc kNvUnavailable = 0x923;
// Format one: fault in a parameter, handle or session; combine with the helpers below.
inline constexpr Rc kAttributes = 0x082;
inline constexpr Rc kValue = 0x084;
inline constexpr Rc kHierarchy = 0x085;
inline constexpr Rc kHandle = 0x08B;
inline constexpr Rc kAuthFail = 0x08E;
inline constexpr Rc kScheme = 0x092;
inline constexpr Rc kSize = 0x095;
inline constexpr Rc kTag = 0x097;
inline constexpr Rc kInsufficient = 0x09A;
inline constexpr Rc kIntegrity = 0x09F;
inline constexpr Rc kReservedBits = 0x0A1;
inline constexpr Rc kBadAuth = 0x0A2;

// `n` counts from 1; the specification's TPM_RC_P, TPM_RC_H-by-number and TPM_RC_S.
[[nodiscard]] constexpr Rc in_parameter(Rc code, unsigned n) {
  return code | 0x040 | (n << 8);
}
[[nodiscard]] constexpr Rc in_handle(Rc code, unsigned n) {
  return code | (n << 8);
}
[[nodiscard]] constexpr Rc in_session(Rc code, unsigned n) {
  return code | ((n | 8U) << 8);
}
}  // namespace rc

// A TPM code from the manager.
[[nodiscard]] constexpr Rc from_manager(Rc code) {
  return kManagerLayer | code;
}
// Bits 16..23 hold the layer; 0 is the TPM.
[[nodiscard]] constexpr unsigned layer_of(Rc code) {
  return (code >> 16) & 0xFF;
}
[[nodiscard]] constexpr Rc without_layer(Rc code) {
  return code & 0xFFFF;
}
// For format-one codes: the fault without the number of the parameter, handle or session; other codes are unchanged.
[[nodiscard]] constexpr Rc base_code(Rc code) {
  const Rc plain = without_layer(code);
  return (plain & 0x080) != 0 ? (plain & 0x0BF) : plain;
}

// "0x000b0143 (resource manager: command code not supported)". For logs and the tool; names only known codes.
[[nodiscard]] std::string describe(Rc code);

}  // namespace tpmspace::wire
