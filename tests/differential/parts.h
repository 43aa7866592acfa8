// Pieces of commands that the world and the examples share: public areas, schemes, points.
// Source: TPM 2.0 library, Part 2, 11 and 12.
#pragma once

#include <cstdint>

#include "../support/tpm_commands.h"
#include "wire/bytes.h"

namespace tpmspace::differential {

using wire::Bytes;
using wire::ByteView;
using wire::Writer;

inline constexpr std::uint16_t kRsa = 0x0001, kKeyedHash = 0x0008, kHmac = 0x0005, kAes = 0x0006, kEcc = 0x0023,
                               kSymCipher = 0x0025, kEcdsa = 0x0018, kEcdh = 0x0019, kEcdaa = 0x001A, kOaep = 0x0017,
                               kCfb = 0x0043, kP256 = 0x0003;
// TPMA_OBJECT; all noDA.
inline constexpr std::uint32_t kOrdinary = 0x472;  // fixedTPM fixedParent sensitiveDataOrigin userWithAuth noDA
inline constexpr std::uint32_t kRestricted = 0x10000, kDecrypt = 0x20000, kSign = 0x40000, kX509Sign = 0x80000;

inline Bytes two_byte(ByteView body) {
  return Writer().tpm2b(body).take();
}
inline Bytes aes_cfb() {
  return Writer().u16(kAes).u16(128).u16(kCfb).take();
}
inline Bytes null_scheme() {
  return Writer().u16(support::kAlgNull).take();
}
// TPML_PCR_SELECTION: PCR 16 of the SHA-256 bank.
inline Bytes pcr_selection() {
  return Writer().u32(1).u16(support::kSha256).u8(3).u8(0).u8(0).u8(1).take();
}
inline Bytes no_point() {
  return Writer().u16(4).u16(0).u16(0).take();
}
// TPMT_PUBLIC.
inline Bytes ecc_public(std::uint32_t attributes, ByteView symmetric, ByteView scheme) {
  return Writer()
      .u16(kEcc)
      .u16(support::kSha256)
      .u32(attributes)
      .u16(0)
      .raw(symmetric)
      .raw(scheme)
      .u16(kP256)
      .u16(support::kAlgNull)
      .u16(0)
      .u16(0)
      .take();
}
inline Bytes keyed_hash_public(std::uint32_t attributes, ByteView policy, ByteView scheme) {
  return Writer().u16(kKeyedHash).u16(support::kSha256).u32(attributes).tpm2b(policy).raw(scheme).u16(0).take();
}
inline Bytes cipher_public() {
  return Writer()
      .u16(kSymCipher)
      .u16(support::kSha256)
      .u32(kOrdinary | kDecrypt | kSign)
      .u16(0)
      .raw(aes_cfb())
      .u16(0)
      .take();
}
inline Bytes rsa_public() {
  return Writer()
      .u16(kRsa)
      .u16(support::kSha256)
      .u32(kOrdinary | kDecrypt)
      .u16(0)
      .u16(support::kAlgNull)
      .u16(support::kAlgNull)
      .u16(1024)
      .u32(0)
      .u16(0)
      .take();
}
// TPM2B_NV_PUBLIC.
inline Bytes nv_public(std::uint32_t index, std::uint32_t attributes, ByteView policy, std::uint16_t size) {
  return two_byte(Writer().u32(index).u16(support::kSha256).u32(attributes).tpm2b(policy).u16(size).take());
}

}  // namespace tpmspace::differential
