// The TPM_ALG_ID values that this room compares (Part 2, 6.3).
#pragma once

#include <cstdint>

namespace tpmspace::tpm {

inline constexpr std::uint16_t kAlgHmac = 0x0005, kAlgKeyedHash = 0x0008, kAlgSha256 = 0x000B, kAlgNull = 0x0010,
                               kAlgEcdaa = 0x001A;

}  // namespace tpmspace::tpm
