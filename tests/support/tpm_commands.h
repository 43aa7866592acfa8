// TPM commands as tests write them: one function for each, the bytes out. No session cryptography: authorizations are
// passwords (empty), or a policy or HMAC session that needs no HMAC.
// Source: TPM 2.0 library, Part 3.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/command_table.h"

namespace tpmspace::support {

using wire::Bytes;
using wire::ByteView;
using wire::Writer;
namespace cc = wire::cc;

inline constexpr std::uint32_t kOwner = 0x40000001, kNull = 0x40000007, kEndorsement = 0x4000000B,
                               kPlatform = 0x4000000C;
inline constexpr std::uint32_t kLockout = 0x4000000A;
inline constexpr std::uint16_t kSha256 = 0x000B, kAlgNull = 0x0010;

inline Bytes command(wire::CommandCode code, std::initializer_list<std::uint32_t> handles, ByteView authorizations,
                     ByteView parameters) {
  Writer body;
  for (const auto handle : handles) body.u32(handle);
  if (!authorizations.empty()) body.u32(static_cast<std::uint32_t>(authorizations.size())).raw(authorizations);
  body.raw(parameters);
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size());
  const auto tag = authorizations.empty() ? wire::kTagNoSessions : wire::kTagSessions;
  return Writer().u16(tag).u32(size).u32(code).raw(body.bytes()).take();
}

inline Bytes authorization(std::uint32_t session, std::uint8_t attributes = 0x01) {
  return Writer().u32(session).u16(0).u8(attributes).u16(0).take();
}
inline Bytes password() {
  return authorization(wire::kPasswordSession, 0);
}
inline Bytes join(std::initializer_list<Bytes> parts) {
  Writer out;
  for (const auto& part : parts) out.raw(part);
  return out.take();
}

// TPM2B_SENSITIVE_CREATE: no authValue, `data` to be sealed.
inline Bytes sensitive(ByteView data = {}) {
  const Bytes inner = Writer().tpm2b({}).tpm2b(data).take();
  return Writer().tpm2b(inner).take();
}

// TPMT_PUBLICs. P-256 keys are quick to make. All noDA: libtpms answers the first use of another with RETRY.
inline Bytes ecc_storage_template() {
  return Writer()
      .u16(0x0023)
      .u16(kSha256)
      .u32(0x00030472)
      .u16(0)
      .u16(0x0006)
      .u16(128)
      .u16(0x0043)
      .u16(kAlgNull)
      .u16(0x0003)
      .u16(kAlgNull)
      .u16(0)
      .u16(0)
      .take();
}
inline Bytes ecc_signing_template(std::uint32_t attributes = 0x00040472) {
  return Writer()
      .u16(0x0023)
      .u16(kSha256)
      .u32(attributes)
      .u16(0)
      .u16(kAlgNull)
      .u16(0x0018)
      .u16(kSha256)
      .u16(0x0003)
      .u16(kAlgNull)
      .u16(0)
      .u16(0)
      .take();
}
inline Bytes sealed_template(ByteView policy = {}) {
  return Writer()
      .u16(0x0008)
      .u16(kSha256)
      .u32(policy.empty() ? 0x00000452 : 0x00000412)
      .tpm2b(policy)
      .u16(kAlgNull)
      .u16(0)
      .take();
}

inline Bytes creation(ByteView sensitive_part, ByteView public_part) {
  return Writer().raw(sensitive_part).tpm2b(public_part).u16(0).u32(0).take();
}
inline Bytes create_primary(std::uint32_t hierarchy, ByteView public_part = ecc_storage_template()) {
  return command(cc::kCreatePrimary, {hierarchy}, password(), creation(sensitive(), public_part));
}
inline Bytes create(std::uint32_t parent, ByteView public_part = ecc_signing_template(), ByteView data = {}) {
  return command(cc::kCreate, {parent}, password(), creation(sensitive(data), public_part));
}
inline Bytes load(std::uint32_t parent, ByteView private_and_public) {
  return command(cc::kLoad, {parent}, password(), private_and_public);
}
inline Bytes sign(std::uint32_t key, ByteView authorizations = password()) {
  const Bytes digest(32, 0x5A);
  return command(cc::kSign, {key}, authorizations,
                 Writer().tpm2b(digest).u16(0x0018).u16(kSha256).u16(0x8024).u32(kNull).u16(0).take());
}
inline Bytes read_public(std::uint32_t object) {
  return command(cc::kReadPublic, {object}, {}, {});
}
inline Bytes unseal(std::uint32_t object, ByteView authorizations = password()) {
  return command(cc::kUnseal, {object}, authorizations, {});
}

enum class SessionType : std::uint8_t { kHmac = 0, kPolicy = 1, kTrial = 3 };
inline Bytes start_session(SessionType type, std::uint32_t key = kNull, std::uint32_t bind = kNull) {
  const Bytes nonce(16, 0x11);
  return command(cc::kStartAuthSession, {key, bind}, {},
                 Writer().tpm2b(nonce).u16(0).u8(static_cast<std::uint8_t>(type)).u16(kAlgNull).u16(kSha256).take());
}
inline Bytes policy_command_code(std::uint32_t session, wire::CommandCode code) {
  return command(cc::kPolicyCommandCode, {session}, {}, Writer().u32(code).take());
}
inline Bytes policy_get_digest(std::uint32_t session) {
  return command(cc::kPolicyGetDigest, {session}, {}, {});
}
inline Bytes policy_restart(std::uint32_t session) {
  return command(cc::kPolicyRestart, {session}, {}, {});
}

inline Bytes context_save(std::uint32_t handle) {
  return command(cc::kContextSave, {handle}, {}, {});
}
inline Bytes context_load(ByteView context) {
  return command(cc::kContextLoad, {}, {}, context);
}
inline Bytes flush_context(std::uint32_t handle) {
  return command(cc::kFlushContext, {}, {}, Writer().u32(handle).take());
}
inline Bytes evict_control(std::uint32_t object, std::uint32_t persistent) {
  return command(cc::kEvictControl, {kOwner, object}, password(), Writer().u32(persistent).take());
}

inline Bytes hash_start() {
  return command(cc::kHashSequenceStart, {}, {}, Writer().u16(0).u16(kSha256).take());
}
inline Bytes sequence_update(std::uint32_t sequence, ByteView data) {
  return command(cc::kSequenceUpdate, {sequence}, password(), Writer().tpm2b(data).take());
}
inline Bytes sequence_complete(std::uint32_t sequence, ByteView data = {}) {
  return command(cc::kSequenceComplete, {sequence}, password(), Writer().tpm2b(data).u32(kNull).take());
}

inline Bytes get_random(std::uint16_t bytes = 8) {
  return command(cc::kGetRandom, {}, {}, Writer().u16(bytes).take());
}
inline Bytes get_capability(std::uint32_t capability, std::uint32_t property, std::uint32_t count) {
  return command(cc::kGetCapability, {}, {}, Writer().u32(capability).u32(property).u32(count).take());
}
inline Bytes startup_clear() {
  return command(cc::kStartup, {}, {}, Writer().u16(0).take());
}
inline Bytes clear() {
  return command(cc::kClear, {kPlatform}, password(), {});
}
inline Bytes hierarchy_control(std::uint32_t hierarchy, bool on) {
  return command(cc::kHierarchyControl, {kPlatform}, password(), Writer().u32(hierarchy).u8(on ? 1 : 0).take());
}

}  // namespace tpmspace::support
