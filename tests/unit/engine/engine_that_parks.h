// Policy sessions on libtpms that leave the TPM and come back: the commands of these tests, and the ways to make
// sessions leave.
#pragma once

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string_view>
#include <vector>

#include "engine_on_libtpms.h"

namespace tpmspace::engine {

constexpr Rc kReferenceH0 = 0x000B0910, kReferenceS0 = 0x000B0918, kNoMoreSessions = 0x000B0905;
constexpr Rc kPcrChanged = 0x000B0128;
constexpr Rc kBadAuth = 0x9A2, kStopped = 0x000B0921;
constexpr std::uint64_t kSecond = 1'000'000'000;

// A password authorization, and the authorizations of these tests' entities.
inline Bytes with_password(std::string_view value) {
  return Writer().u32(wire::kPasswordSession).u16(0).u8(0).tpm2b(Bytes(value.begin(), value.end())).take();
}
inline const Bytes kRight = with_password("right"), kWrong = with_password("wrong");

inline Bytes policy_pcr(std::uint32_t session, std::uint32_t pcr = 10, ByteView digest = {}) {
  const std::uint8_t select[3] = {static_cast<std::uint8_t>(pcr < 8 ? 1U << pcr : 0U),
                                  static_cast<std::uint8_t>(pcr >= 8 && pcr < 16 ? 1U << (pcr - 8) : 0U),
                                  static_cast<std::uint8_t>(pcr >= 16 ? 1U << (pcr - 16) : 0U)};
  return command(cc::kPolicyPCR, {session}, {}, Writer().tpm2b(digest).u32(1).u16(kSha256).u8(3).raw(select).take());
}
inline Bytes pcr_extend(std::uint32_t pcr) {
  return command(cc::kPCRExtend, {pcr}, password(), Writer().u32(1).u16(kSha256).raw(Bytes(32, 7)).take());
}
inline Bytes policy_password(std::uint32_t session, ByteView authorizations = {}) {
  return command(cc::kPolicyPassword, {session}, authorizations, {});
}
inline Bytes policy_auth_value(std::uint32_t session) {
  return command(cc::kPolicyAuthValue, {session}, {}, {});
}
inline Bytes policy_secret(std::uint32_t session, ByteView authorizations = password(), ByteView nonce = {}) {
  return command(cc::kPolicySecret, {kOwner, session}, authorizations,
                 Writer().tpm2b(nonce).tpm2b({}).tpm2b({}).u32(0).take());
}
inline Bytes policy_nv_written(std::uint32_t session, ByteView authorizations = {}) {
  return command(cc::kPolicyNvWritten, {session}, authorizations, Writer().u8(1).take());
}

// The nonce that a StartAuthSession was answered with.
inline Bytes nonce_in(const Answered& started) {
  return {started.parameters.begin() + 2, started.parameters.end()};
}

// An Unseal whose policy session has an HMAC with an empty key, which a TPM would not ask for: as tpm2-tss 3.2.1 does
// it.
struct UnsealWithHmac {
  std::uint32_t object = 0, session = 0;
  Bytes name;  // the object's
  const EVP_MD* hash = EVP_sha256();
  std::uint8_t attributes = 1;  // continueSession
  Bytes nonce_caller = Bytes(16, 0x77);

  [[nodiscard]] Bytes bytes(ByteView nonce_tpm) const {
    const Bytes covered = digest(Writer().u32(cc::kUnseal).raw(name).take());
    const Bytes right = hmac(Writer().raw(covered).raw(nonce_caller).raw(nonce_tpm).u8(attributes).take());
    return unseal(object, Writer().u32(session).tpm2b(nonce_caller).u8(attributes).tpm2b(right).take());
  }
  static Bytes nonce_of(const wire::Response& response) {
    const auto& answered = response.authorizations().at(0);
    return wire::to_bytes(response.bytes().subspan(answered.nonce_at, answered.nonce_size));
  }
  static Bytes hmac_of(const wire::Response& response) {
    const auto& answered = response.authorizations().at(0);
    return wire::to_bytes(response.bytes().subspan(answered.hmac_at, answered.hmac_size));
  }
  // Its expected HMAC.
  [[nodiscard]] Bytes right_hmac_of(const wire::Response& response) const {
    const Bytes covered = digest(Writer().u32(0).u32(cc::kUnseal).raw(response.parameters()).take());
    const std::uint8_t answered = response.authorizations().at(0).attributes;
    return hmac(Writer().raw(covered).raw(nonce_of(response)).raw(nonce_caller).u8(answered).take());
  }

 private:
  [[nodiscard]] Bytes digest(ByteView data) const {
    Bytes out(static_cast<std::size_t>(EVP_MD_get_size(hash)));
    (void)EVP_Digest(data.data(), data.size(), out.data(), nullptr, hash, nullptr);
    return out;
  }
  [[nodiscard]] Bytes hmac(ByteView data) const {
    Bytes out(static_cast<std::size_t>(EVP_MD_get_size(hash)));
    (void)HMAC(hash, "", 0, data.data(), data.size(), out.data(), nullptr);
    return out;
  }
};

class EngineThatParks : public EngineOnLibtpms {
 protected:
  std::uint32_t policy(ConnectionId c) { return session(c, SessionType::kPolicy); }
  // With a policy that lets it be used for Unseal.
  std::uint32_t stepped(ConnectionId c) {
    const auto one = policy(c);
    EXPECT_EQ(run(c, policy_command_code(one, cc::kUnseal)).code, 0U);
    return one;
  }
  // Owners of one session each, which all of them use: sessions used before have left the TPM.
  std::vector<ConnectionId> crowd(std::size_t size = 64) {
    std::vector<ConnectionId> out;
    for (std::uint64_t owner = 100; out.size() < size; ++owner) (void)stepped(out.emplace_back(open(owner)));
    return out;
  }
  // They come and go: all numbers are free again.
  void crowd_passes() {
    for (const auto connection : crowd()) engine_->close(connection);
    idle();
  }

  [[nodiscard]] bool is_parked(ConnectionId connection, std::uint32_t handle) const {
    for (const auto& one : engine_->sessions().sessions)
      if (one.connection == connection && one.handle == handle) return one.parked;
    return false;
  }
  [[nodiscard]] std::uint32_t parked() const { return engine_->snapshot().sessions_parked; }

  // A sealed object whose policy is that of the session now.
  std::uint32_t sealed_with(ConnectionId c, std::uint32_t session, std::uint8_t name_hash = kSha256) {
    const auto digest = run(c, policy_get_digest(session));
    EXPECT_EQ(digest.code, 0U);
    Bytes area = sealed_template(Bytes(digest.parameters.begin() + 2, digest.parameters.end()));
    area[3] = name_hash;
    const auto parent = run(c, create_primary(kOwner));
    EXPECT_EQ(parent.code, 0U);
    const Bytes secret{1, 2, 3, 4};
    const auto made = run(c, create(parent.handle, area, secret));
    EXPECT_EQ(made.code, 0U);
    wire::Reader in(made.parameters);
    const auto private_part = *in.tpm2b(), public_part = *in.tpm2b();
    const auto loaded = run(c, load(parent.handle, Writer().tpm2b(private_part).tpm2b(public_part).take()));
    EXPECT_EQ(loaded.code, 0U);
    return loaded.handle;
  }
  static bool is_secret(const Answered& answer) {
    return answer.code == 0 && answer.parameters == Bytes{0, 4, 1, 2, 3, 4};
  }
  Bytes name_of(ConnectionId c, std::uint32_t object) {
    const auto answer = run(c, read_public(object)).parameters;  // outPublic, name, qualifiedName
    wire::Reader in(answer);
    (void)in.tpm2b();
    return wire::to_bytes(*in.tpm2b());
  }

  // To be stepped by the test.
  Ticket submit(ConnectionId connection, const Bytes& bytes) {
    auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    EXPECT_TRUE(command);
    return engine_->submit(connection, std::move(*command), 0, now_);
  }
  // The whole answer. The books are not checked after each step, which takes long when there are thousands of sessions.
  std::optional<wire::Response> answer_to(ConnectionId connection, const Bytes& bytes) {
    const auto parsed = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    (void)submit(connection, bytes);
    for (int i = 0; i < 1000; ++i) {
      auto step = engine_->step(now_);
      if (step.idle && step.wake) now_ = std::max(now_, *step.wake);
      if (step.reply) return wire::Response::parse(step.reply->response, parsed->row(), parsed->has_sessions());
    }
    ADD_FAILURE() << "no answer";
    return std::nullopt;
  }
};

}  // namespace tpmspace::engine
