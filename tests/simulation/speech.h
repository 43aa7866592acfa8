// The commands of our clients: TPM commands built from values, and parsed responses.
//
// Idea: one function for each command. Everything is authorized with `Auth` values; the key templates are few and cheap
// (symmetric parents, keyed-hash keys), so that libtpms answers thousands of commands a second.
// Threads: values. Source: TPM 2.0 library, Part 3.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "wire/bytes.h"
#include "wire/rc.h"

namespace tpmspace::simulation::speech {

// One authorization. A password session unless `session` says otherwise.
struct Auth {
  std::uint32_t session = 0x40000009;
  std::uint8_t attributes = 0x01;
  wire::Bytes secret;  // password or HMAC
};
using Auths = std::vector<Auth>;

enum class Template : std::uint8_t {
  kParent,          // AES storage key: restricted, decrypts
  kHmacKey,         // signs with HMAC-SHA-256
  kSealed,          // data, opened with its auth value
  kPolicySealed,    // data, opened with PolicyCommandCode(Unseal)
  kStClearKey,      // as kHmacKey, and gone with the next Startup(CLEAR)
  kStClearParent,   // as kParent, likewise
  kAdminPolicyKey,  // as kHmacKey, ADMIN role by policy only
  kPcrSealed,       // data, opened with PolicyPCR
  kPasswordSealed,  // data, opened with PolicyPassword
  kBranchSealed,    // data, opened with one of two branches of a PolicyOR
  // As the templates above, and wrong authorizations are counted.
  kProtectedKey,
  kProtectedSealed,
  kProtectedPasswordSealed,
};
inline constexpr std::size_t kTemplates = 13;

[[nodiscard]] wire::Bytes template_of(Template kind);
// The key or data that such an object is created with; empty where the TPM makes it.
[[nodiscard]] wire::Bytes secret_of(Template kind, std::uint64_t individual);
[[nodiscard]] wire::Bytes unseal_policy();
// PolicyPCR of a PCR that no client extends.
[[nodiscard]] wire::Bytes pcr_policy();
inline constexpr std::uint32_t kUntouchedPcr = 11;
// The branches of kBranchSealed: PolicyCommandCode(Unseal), PolicyPCR.
[[nodiscard]] std::vector<wire::Bytes> branches();

[[nodiscard]] wire::Bytes command(std::uint32_t code, const std::vector<std::uint32_t>& handles, const Auths& auths,
                                  wire::ByteView parameters);

[[nodiscard]] wire::Bytes startup(bool state);
[[nodiscard]] wire::Bytes shutdown(bool state);
[[nodiscard]] wire::Bytes get_capability(std::uint32_t capability, std::uint32_t property, std::uint32_t count,
                                         const Auths& auths = {});
[[nodiscard]] wire::Bytes get_random(std::uint16_t count, const Auths& auths = {});
[[nodiscard]] wire::Bytes read_clock();
[[nodiscard]] wire::Bytes create_primary(std::uint32_t hierarchy, const Auths& auths, Template kind,
                                         std::uint64_t individual, wire::ByteView auth_value);
[[nodiscard]] wire::Bytes create(std::uint32_t parent, const Auths& auths, Template kind, std::uint64_t individual,
                                 wire::ByteView auth_value);
[[nodiscard]] wire::Bytes create_loaded(std::uint32_t parent, const Auths& auths, Template kind,
                                        std::uint64_t individual, wire::ByteView auth_value);
// `wrapped`: TPM2B_PRIVATE and TPM2B_PUBLIC as Create answered them.
[[nodiscard]] wire::Bytes load(std::uint32_t parent, const Auths& auths, wire::ByteView wrapped);
[[nodiscard]] wire::Bytes load_external(std::uint32_t hierarchy, std::uint64_t individual, bool with_secret);
[[nodiscard]] wire::Bytes read_public(std::uint32_t object, const Auths& auths = {});
[[nodiscard]] wire::Bytes nv_read_public(std::uint32_t index);
[[nodiscard]] wire::Bytes sign(std::uint32_t key, const Auths& auths, wire::ByteView digest);
[[nodiscard]] wire::Bytes unseal(std::uint32_t object, const Auths& auths);
[[nodiscard]] wire::Bytes object_change_auth(std::uint32_t object, std::uint32_t parent, const Auths& auths,
                                             wire::ByteView value);
[[nodiscard]] wire::Bytes evict_control(std::uint32_t hierarchy, std::uint32_t object, const Auths& auths,
                                        std::uint32_t persistent);
[[nodiscard]] wire::Bytes context_save(std::uint32_t handle);
[[nodiscard]] wire::Bytes context_load(wire::ByteView context);
[[nodiscard]] wire::Bytes flush_context(std::uint32_t handle);
[[nodiscard]] wire::Bytes hash_sequence_start(wire::ByteView auth_value, bool event);
[[nodiscard]] wire::Bytes hmac_start(std::uint32_t key, const Auths& auths, wire::ByteView auth_value);
[[nodiscard]] wire::Bytes sequence_update(std::uint32_t sequence, const Auths& auths, wire::ByteView data);
[[nodiscard]] wire::Bytes sequence_complete(std::uint32_t sequence, const Auths& auths, wire::ByteView data);
[[nodiscard]] wire::Bytes event_sequence_complete(std::uint32_t pcr, std::uint32_t sequence, const Auths& auths,
                                                  wire::ByteView data);
enum class SessionKind : std::uint8_t { kHmac = 0, kPolicy = 1, kTrial = 3 };
[[nodiscard]] wire::Bytes start_auth_session(std::uint32_t tpm_key, std::uint32_t bind, SessionKind kind);
[[nodiscard]] wire::Bytes policy_command_code(std::uint32_t session, std::uint32_t code);
// PolicyPassword, PolicyAuthValue, PolicyRestart, PolicyGetDigest: nothing but the session.
[[nodiscard]] wire::Bytes policy_plain(std::uint32_t code, std::uint32_t session);
// `expected`: of the PCR; empty: the present value.
[[nodiscard]] wire::Bytes policy_pcr(std::uint32_t session, std::optional<std::uint32_t> pcr, wire::ByteView expected);
[[nodiscard]] wire::Bytes policy_or(std::uint32_t session, const std::vector<wire::Bytes>& branches);
// PolicyNvWritten, PolicyLocality: an byte.
[[nodiscard]] wire::Bytes policy_octet(std::uint32_t code, std::uint32_t session, std::uint8_t octet);
[[nodiscard]] wire::Bytes policy_secret(std::uint32_t entity, std::uint32_t session, const Auths& auths);
[[nodiscard]] wire::Bytes clear(std::uint32_t authority, const Auths& auths);
[[nodiscard]] wire::Bytes dictionary_attack_lock_reset();
// `recovery`: seconds.
[[nodiscard]] wire::Bytes dictionary_attack_parameters(std::uint32_t tries, std::uint32_t recovery);
[[nodiscard]] wire::Bytes change_seed(std::uint32_t code, const Auths& auths);
[[nodiscard]] wire::Bytes hierarchy_control(std::uint32_t authority, const Auths& auths, std::uint32_t target, bool on);
[[nodiscard]] wire::Bytes pcr_extend(std::uint32_t pcr, const Auths& auths, wire::ByteView digest);
[[nodiscard]] wire::Bytes pcr_read(std::uint32_t pcr);

// An answer taken apart.
struct Heard {
  wire::Rc code = 0;
  std::uint32_t handle = 0;  // of the response; 0: none
  wire::Bytes parameters;
  std::vector<std::uint8_t> session_attributes;

  [[nodiscard]] bool ok() const { return code == 0; }
  // The n-th TPM2B of the parameters; only where all parameters before it are TPM2Bs.
  [[nodiscard]] wire::Bytes tpm2b(std::size_t index) const;
};
// Of the one property that GetCapability was asked for.
[[nodiscard]] std::uint32_t property_value(const Heard& heard);
// nullopt: no well-formed response to that command.
[[nodiscard]] std::optional<Heard> hear(wire::ByteView command, wire::ByteView response);

}  // namespace tpmspace::simulation::speech
