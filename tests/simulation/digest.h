// SHA-256 and HMAC-SHA-256, for all results in which the model must agree with a real TPM: policy digests, Names, hash
// sequences, signatures of keyed-hash keys. Threads: any. Sizes: 32 bytes out. Source: FIPS 180-4, FIPS 198-1.
#pragma once

#include <initializer_list>

#include "wire/bytes.h"

namespace tpmspace::simulation {

inline constexpr std::size_t kDigestSize = 32;

[[nodiscard]] wire::Bytes sha256(std::initializer_list<wire::ByteView> parts);
[[nodiscard]] wire::Bytes hmac_sha256(wire::ByteView key, wire::ByteView data);
[[nodiscard]] inline wire::ByteView text(const char* string) {
  std::size_t size = 0;
  while (string[size] != '\0') ++size;
  return {reinterpret_cast<const std::uint8_t*>(string), size};
}
// As a TPM keeps an authorization value (Part 1, 19.6.4.3).
[[nodiscard]] inline wire::Bytes without_trailing_zeros(wire::Bytes value) {
  while (!value.empty() && value.back() == 0) value.pop_back();
  return value;
}
// The first eight bytes of a digest, as a number.
[[nodiscard]] std::uint64_t short_digest(std::initializer_list<wire::ByteView> parts);

}  // namespace tpmspace::simulation
