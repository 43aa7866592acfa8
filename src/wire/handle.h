// Handles. A client's handle and the TPM's handle are different types, because confusing them would be a security hole:
// a client's number must be translated in its space before the number may reach the TPM.
// Source: TPM 2.0 library, Part 2, 7 (Handles); Part 1, 15.
#pragma once

#include <compare>
#include <cstdint>

namespace tpmspace::wire {

// The top byte of a handle (TPM_HT).
enum class HandleKind : std::uint8_t {
  kPcr = 0x00,
  kNvIndex = 0x01,
  kHmacSession = 0x02,    // in capability lists: loaded sessions
  kPolicySession = 0x03,  // policy and trial; in capability lists: saved sessions
  kPermanent = 0x40,
  kTransient = 0x80,
  kPersistent = 0x81,
  kAttachedComponent = 0x90,
};

[[nodiscard]] constexpr HandleKind kind_of(std::uint32_t handle) {
  return static_cast<HandleKind>(handle >> 24);
}
[[nodiscard]] constexpr bool is_transient(std::uint32_t h) {
  return kind_of(h) == HandleKind::kTransient;
}
[[nodiscard]] constexpr bool is_persistent(std::uint32_t h) {
  return kind_of(h) == HandleKind::kPersistent;
}
// NV indices, and the external and permanent NV indices of rev. 1.83 (TPM_HT_EXTERNAL_NV, TPM_HT_PERMANENT_NV).
[[nodiscard]] constexpr bool is_nv(std::uint32_t h) {
  const auto top = h >> 24;
  return top == 0x01 || top == 0x11 || top == 0x12;
}
[[nodiscard]] constexpr bool is_session(std::uint32_t h) {
  return kind_of(h) == HandleKind::kHmacSession || kind_of(h) == HandleKind::kPolicySession;
}
// A session's number: the low 24 bits; HMAC, policy and trial sessions share one number space.
[[nodiscard]] constexpr std::uint32_t number_of(std::uint32_t session) {
  return session & 0x00FFFFFF;
}

inline constexpr std::uint32_t kFirstTransient = 0x80000000;
inline constexpr std::uint32_t kFirstPersistent = 0x81000000;
inline constexpr std::uint32_t kLockoutHandle = 0x4000000A;    // TPM_RH_LOCKOUT: the dictionary-attack logic
inline constexpr std::uint32_t kPasswordSession = 0x40000009;  // TPM_RS_PW

// TPM_RH_...: the hierarchies an object can live in (Part 2, 7.4).
enum class Hierarchy : std::uint32_t {
  kOwner = 0x40000001,
  kNull = 0x40000007,
  kEndorsement = 0x4000000B,
  kPlatform = 0x4000000C,
};

// A handle in a client's command, or in a response to a client.
struct ClientHandle {
  std::uint32_t value = 0;
  auto operator<=>(const ClientHandle&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
// The TPM's own handle of an entity.
struct TpmHandle {
  std::uint32_t value = 0;
  auto operator<=>(const TpmHandle&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

}  // namespace tpmspace::wire
