#include "digest.h"

#include <openssl/evp.h>

#include <array>
#include <memory>

namespace tpmspace::simulation {
namespace {

constexpr std::size_t kBlockSize = 64;

struct Free {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

const EVP_MD* algorithm() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched;
}

EVP_MD_CTX* context() {
  thread_local const std::unique_ptr<EVP_MD_CTX, Free> instance(EVP_MD_CTX_new());
  return instance.get();
}

}  // namespace

wire::Bytes sha256(std::initializer_list<wire::ByteView> parts) {
  EVP_DigestInit_ex2(context(), algorithm(), nullptr);
  for (const auto part : parts) EVP_DigestUpdate(context(), part.data(), part.size());
  wire::Bytes out(kDigestSize);
  EVP_DigestFinal_ex(context(), out.data(), nullptr);
  return out;
}

wire::Bytes hmac_sha256(wire::ByteView key, wire::ByteView data) {
  std::array<std::uint8_t, kBlockSize> inner{};
  std::array<std::uint8_t, kBlockSize> outer{};
  const wire::Bytes block_key = key.size() > kBlockSize ? sha256({key}) : wire::to_bytes(key);
  for (std::size_t i = 0; i < kBlockSize; ++i) {
    const std::uint8_t octet = i < block_key.size() ? block_key[i] : std::uint8_t{0};
    inner[i] = octet ^ std::uint8_t{0x36};
    outer[i] = octet ^ std::uint8_t{0x5C};
  }
  return sha256({outer, sha256({inner, data})});
}

std::uint64_t short_digest(std::initializer_list<wire::ByteView> parts) {
  const wire::Bytes digest = sha256(parts);
  return wire::Reader(digest).u64().value_or(0);
}

}  // namespace tpmspace::simulation
