// The commands of the clients of the engine's fuzzers: bytes of the input become commands about few objects and
// sessions, so that the clients meet.
// Threads: one.
#pragma once

#include <vector>

#include "../support/tpm_commands.h"
#include "fuzz.h"
#include "wire/command.h"

namespace tpmspace::fuzz {

using namespace support;

class Commands {
 public:
  // `input` must outlive this.
  explicit Commands(Input& input) : input_(input) {}

  Bytes some() {
    switch (input_.below(8)) {
      case 0:
      case 1:
        return make_object();
      case 2:
        return use_object();
      case 3:
      case 4:
        return use_session();
      case 5:
        return use_context();
      case 6:
        return use_chip();
      default:
        return raw();
    }
  }

  // The body of a successful response may be sent again: saved contexts, wrapped keys.
  void learn(ByteView response) {
    const auto header = wire::read_header(response);
    const std::size_t skip = wire::kHeaderSize + (header->tag == wire::kTagSessions ? 4 : 0);
    if (blobs_.size() == kMaxBlobs) blobs_.erase(blobs_.begin());
    blobs_.push_back(wire::to_bytes(response.subspan(std::min(skip, response.size()))));
  }

 private:
  static constexpr std::size_t kMaxBlobs = 8;

  std::uint32_t object() { return 0x80000000U + input_.u8() % 6U; }
  std::uint32_t session() {
    const std::uint8_t which = input_.u8();
    return ((which & 0x80) != 0 ? 0x03000000U : 0x02000000U) + which % 8U;
  }
  Bytes authorizations() {
    const std::uint8_t which = input_.u8();
    if (which < 0x80) return password();
    const std::uint8_t attributes = input_.u8() & 0xE7;
    if (which < 0xE0) return support::authorization(session(), attributes);
    return join(
        {password(), support::authorization(session(), attributes), support::authorization(session(), attributes)});
  }
  Bytes blob() { return blobs_.empty() ? Bytes(20, 2) : blobs_[input_.below(blobs_.size())]; }

  Bytes make_object() {
    switch (input_.below(6)) {
      case 0:
        return create_primary(kNull, ecc_signing_template());
      case 1:
        return create_primary(kOwner, ecc_signing_template());
      case 2:
        return create_primary(kEndorsement);
      case 3:
        return create(object());
      case 4:
        return hash_start();
      default:
        return support::load(object(), blob());
    }
  }
  Bytes use_object() {
    switch (input_.below(9)) {
      case 0:
        return sign(object(), authorizations());
      case 1:
        return unseal(object(), authorizations());
      case 2:
        return sequence_update(object(), Bytes(4, 1));
      case 3:
        return sequence_complete(object());
      case 4:
        return evict_control(object(), 0x81000000U + input_.u8() % 3U);
      case 5:
        return sign(0x81000000U + input_.u8() % 3U, authorizations());
      case 6:
        return command(cc::kCertify, {object(), object()}, join({password(), password()}),
                       Writer().u16(0).u16(kAlgNull).take());
      case 7: {
        const std::uint32_t index = 0x01500000U + input_.u8() % 3U;
        return command(cc::kNVRead, {index, index}, authorizations(), Writer().u16(8).u16(0).take());
      }
      default:
        return read_public(object());
    }
  }
  Bytes use_session() {
    switch (input_.below(8)) {
      case 0:
        return policy_get_digest(session());
      case 1:
        return policy_restart(session());
      case 2:
      case 3:
      case 4:
        return policy_step();
      default:
        // Mostly one that can leave the TPM and be made again.
        return start_session(static_cast<SessionType>((0x1311 >> input_.below(4) * 4) & 3),
                             input_.u8() < 0xE0 ? kNull : object(), input_.u8() < 0xE0 ? kNull : object());
    }
  }
  Bytes policy_step() {
    const std::uint32_t on = 0x03000000U + input_.u8() % 8U;
    switch (input_.below(9)) {
      case 0:
        return policy_command_code(on, cc::kUnseal);
      case 1:
        return command(cc::kPolicySecret, {kOwner, on}, authorizations(), Writer().u16(0).u16(0).u16(0).u32(0).take());
      case 2:
        return command(cc::kPolicyPCR, {on}, {},
                       Writer().u16(0).u32(1).u16(kSha256).u8(3).u8(input_.u8()).u8(0).u8(input_.u8() & 1).take());
      case 3:
        return command(cc::kPolicyPassword, {on}, {}, {});
      case 4:
        return command(cc::kPolicyAuthValue, {on}, {}, {});
      case 5:
        return command(cc::kPolicyNvWritten, {on}, {}, Writer().u8(input_.u8() & 1).take());
      case 6:
        return command(cc::kPolicyLocality, {on}, {}, Writer().u8(input_.u8()).take());
      case 7:
        return command(cc::kPolicyOR, {on}, {}, Writer().u32(2).tpm2b(Bytes(32)).tpm2b(Bytes(32, input_.u8())).take());
      default:  // by a key that may be in the TPM; nonce, cpHash, policyRef, expiration, signature
        return command(cc::kPolicySigned, {object(), on}, {},
                       Writer().u16(0).u16(0).u16(0).u32(0).u16(0x0005).u16(kSha256).raw(Bytes(32)).take());
    }
  }
  Bytes use_context() {
    switch (input_.below(4)) {
      case 0:
        return context_save(input_.u8() < 0x80 ? object() : session());
      case 1:
        return context_load(blob());
      case 2:
        return flush_context(object());
      default:
        return flush_context(session());
    }
  }
  Bytes use_chip() {
    switch (input_.below(9)) {
      case 0:
        return get_random();
      case 8:
        return command(cc::kPCRExtend, {input_.u8() % 24U}, password(),
                       Writer().u32(1).u16(kSha256).raw(Bytes(32, 1)).take());
      case 1:
        return get_capability(1, std::uint32_t{input_.u8()} << 24, 1U + input_.u8());
      case 2:
        return get_capability(6, 0x200, 1U + input_.u8());
      case 3:
        return startup_clear();
      case 4:
        return command(cc::kShutdown, {}, {}, Writer().u16(input_.u8() & 1).take());
      case 5:
        return clear();
      case 6:
        return hierarchy_control(kOwner, (input_.u8() & 1) != 0);
      default:
        return command(cc::kChangeEPS, {kPlatform}, password(), {});
    }
  }
  // Any bytes behind a right header.
  Bytes raw() {
    const auto rows = wire::CommandTable::builtin().rows();
    const auto code = rows[input_.below(rows.size())].code;
    const Bytes body = wire::to_bytes(input_.take(input_.u8()));
    const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + body.size());
    const auto tag = (input_.u8() & 1) != 0 ? wire::kTagSessions : wire::kTagNoSessions;
    return Writer().u16(tag).u32(size).u32(code).raw(body).take();
  }

  Input& input_;
  std::vector<Bytes> blobs_;
};

}  // namespace tpmspace::fuzz
