// The properties of a TPM, asked as any client does (TPM2_GetCapability).
//
// Threads: one. Units: handles; properties as the specification gives them.
// Limits: at most kMaxPages requests for one list, so an endless list does not block the tool.
// Errors: nullopt for a missing or invalid response.
// Source: TPM 2.0 library, Part 3, 30.2 (GetCapability); Part 2, 6.13 (TPM_PT), 10.10 (capability structures).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "client/connection.h"

namespace tpmspace::tool {

inline constexpr int kMaxPages = 64;

// Where handle lists begin (Part 2, 7.2).
enum class HandleRange : std::uint32_t {
  kNvIndex = 0x01000000,
  kLoadedSession = 0x02000000,
  kSavedSession = 0x03000000,
  kTransient = 0x80000000,
  kPersistent = 0x81000000,
};
[[nodiscard]] std::optional<std::vector<std::uint32_t>> handles(client::Connection& connection, HandleRange range);

// TPM_PT values (Part 2, 6.13).
namespace property {
inline constexpr std::uint32_t kPermanent = 0x200;  // TPMA_PERMANENT
inline constexpr std::uint32_t kLockoutCounter = 0x20E;
inline constexpr std::uint32_t kMaxAuthFail = 0x20F;
inline constexpr std::uint32_t kLockoutInterval = 0x210;  // seconds
inline constexpr std::uint32_t kLockoutRecovery = 0x211;  // seconds
}  // namespace property
inline constexpr std::uint32_t kInLockout = 1U << 9;  // of TPMA_PERMANENT (Part 2, 8.6)

// The variable properties, by TPM_PT.
[[nodiscard]] std::optional<std::map<std::uint32_t, std::uint32_t>> variable_properties(client::Connection& connection);

}  // namespace tpmspace::tool
