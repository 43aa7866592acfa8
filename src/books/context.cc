#include "books/context.h"

#include <openssl/evp.h>

#include "wire/handle.h"

namespace tpmspace::space {

namespace rc = wire::rc;

namespace {
constexpr std::uint32_t kSavedObject = 0x80000000;
constexpr std::uint32_t kSavedSequence = 0x80000001;
constexpr std::uint32_t kSavedStClear = 0x80000002;
}  // namespace

ContextDigest digest_of(wire::ByteView context) {
  ContextDigest out{};
  unsigned size = 0;
  // SHA-256 fails only without memory; a zero digest then matches no booked context.
  (void)EVP_Digest(context.data(), context.size(), out.data(), &size, EVP_sha256(), nullptr);
  return out;
}

bool ContextInfo::is_session() const {
  return wire::is_session(saved_handle);
}
bool ContextInfo::is_object() const {
  return saved_handle == kSavedObject || saved_handle == kSavedStClear;
}
bool ContextInfo::is_sequence() const {
  return saved_handle == kSavedSequence;
}
bool ContextInfo::is_st_clear() const {
  return saved_handle == kSavedStClear;
}

tl::expected<ContextInfo, wire::Rc> read_context(wire::ByteView context) {
  wire::Reader in(context);
  const auto sequence = in.u64();
  const auto saved_handle = in.u32();
  const auto hierarchy = in.u32();
  if (!sequence || !saved_handle || !hierarchy) return tl::unexpected(rc::in_parameter(rc::kInsufficient, 1));
  const ContextInfo out{*sequence, *saved_handle, *hierarchy};
  if (!out.is_session() && !out.is_object() && !out.is_sequence())
    return tl::unexpected(rc::in_parameter(rc::kValue, 1));
  if (!in.tpm2b()) return tl::unexpected(rc::in_parameter(rc::kInsufficient, 1));
  if (!in.empty()) return tl::unexpected(rc::kSize);
  return out;
}

bool is_dead_context(wire::Rc code) {
  const auto base = wire::base_code(code);
  return base == rc::kIntegrity || base == rc::kHandle || base == rc::kHierarchy || base == rc::kValue;
}

}  // namespace tpmspace::space
