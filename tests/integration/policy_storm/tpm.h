// A TPM as an ESYS program sees it: the commands of the storm's clients.
//
// Idea: thin and straight. A command that fails throws `Failure`, which is caught where one client's step ends. Objects
// and sessions are not flushed when a `Tpm` goes: its connection is, and that must be enough.
// Threads: an object is used by one thread at a time. Source: TCG TSS 2.0 Enhanced System API.
#pragma once

#include <tss2/tss2_esys.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace tpmspace::storm {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

struct Failure {
  std::string command;  // "Unseal"
  TSS2_RC code = 0;
};

[[nodiscard]] TPM2B_DIGEST sha256(std::initializer_list<View> parts);
[[nodiscard]] Bytes bytes(std::uint32_t number);  // big-endian
template <typename Tpm2b>
[[nodiscard]] View view(const Tpm2b& tpm2b) {
  return {&tpm2b.buffer[0], tpm2b.size};
}
[[nodiscard]] inline View view(const TPM2B_NAME& name) {
  return {&name.name[0], name.size};
}

enum class KeyUse : std::uint8_t { kStorage, kSigning };
// The authorization of an object. With a policy the password counts only if `password_too`.
struct Terms {
  TPM2B_DIGEST policy{};
  Bytes password{};
  bool password_too = false;
  bool counts = false;  // a wrong password is a dictionary attack
  bool may_leave = false;
};
struct Blob {
  TPM2B_PRIVATE secret{};
  TPM2B_PUBLIC area{};
};
// The sessions that authorize a command or go with it.
struct Sessions {
  ESYS_TR first = ESYS_TR_PASSWORD;
  ESYS_TR second = ESYS_TR_NONE;
};
struct Ticket {
  TPM2B_TIMEOUT timeout{};
  TPMT_TK_AUTH ticket{};
};
struct Approval {  // the arguments of PolicyAuthorize
  TPM2B_DIGEST approved{};
  TPM2B_NONCE reference{};
  TPM2B_NAME authority{};
  TPMT_TK_VERIFIED ticket{};
};

inline constexpr TPMA_SESSION kContinue = TPMA_SESSION_CONTINUESESSION, kDecrypt = TPMA_SESSION_DECRYPT,
                              kEncrypt = TPMA_SESSION_ENCRYPT;
enum class Cipher : bool { kNone, kAes };

class Tpm {
 public:
  // `tcti` as tctildr takes it: "name:configuration".
  explicit Tpm(const std::string& tcti);
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;
  ~Tpm();

  // --- objects: P-256 and SHA-256 everywhere
  [[nodiscard]] ESYS_TR create_primary(KeyUse use, const Terms& terms = {}, View unique = {});
  [[nodiscard]] Blob create(ESYS_TR parent, View secret, const Terms& terms, Sessions sessions = {});
  [[nodiscard]] ESYS_TR load(ESYS_TR parent, const Blob& blob, View password = {});
  // Create and Load under a primary key of its own, which goes again.
  [[nodiscard]] ESYS_TR seal(View secret, const Terms& terms);
  [[nodiscard]] Bytes unseal(ESYS_TR object, Sessions sessions = {});
  // Duplicates the object to another parent and opens it there.
  [[nodiscard]] Bytes unseal_duplicate(ESYS_TR object, ESYS_TR new_parent, ESYS_TR session);
  [[nodiscard]] TPM2B_NAME name_of(ESYS_TR object);
  void flush(ESYS_TR handle);

  [[nodiscard]] TPMT_SIGNATURE sign(ESYS_TR key, const TPM2B_DIGEST& digest);
  [[nodiscard]] TPMT_TK_VERIFIED verify(ESYS_TR key, const TPM2B_DIGEST& digest, const TPMT_SIGNATURE& signature);

  // An index that is written with the owner's password and read by policy.
  [[nodiscard]] ESYS_TR define_index(TPM2_HANDLE index, View data, const TPM2B_DIGEST& policy);
  [[nodiscard]] Bytes read_index(ESYS_TR index, std::uint16_t size, ESYS_TR session);
  void undefine_index(ESYS_TR index);

  // --- sessions
  [[nodiscard]] ESYS_TR start(TPM2_SE type, Cipher cipher, ESYS_TR salted_by = ESYS_TR_NONE,
                              ESYS_TR bound_to = ESYS_TR_NONE);
  void set_attributes(ESYS_TR session, TPMA_SESSION attributes);
  [[nodiscard]] TPM2B_NONCE nonce_of(ESYS_TR session);
  // FlushContext; ESYS forgets the handle in any case.
  void forget(ESYS_TR session) noexcept;

  // --- policies
  using Policy = std::function<void(Tpm&, ESYS_TR session)>;
  // A policy's digest, by a trial session.
  [[nodiscard]] TPM2B_DIGEST digest_of(const Policy& policy);
  [[nodiscard]] TPM2B_DIGEST policy_digest(ESYS_TR session);
  void policy_restart(ESYS_TR session);
  void policy_pcr(ESYS_TR session, unsigned pcr);
  void policy_command_code(ESYS_TR session, TPM2_CC code);
  void policy_or(ESYS_TR session, const TPML_DIGEST& branches);
  void policy_locality(ESYS_TR session, TPMA_LOCALITY localities);
  void policy_password(ESYS_TR session);
  void policy_auth_value(ESYS_TR session);
  void policy_cp_hash(ESYS_TR session, const TPM2B_DIGEST& hash);
  void policy_name_hash(ESYS_TR session, const TPM2B_DIGEST& hash);
  void policy_duplication_select(ESYS_TR session, const TPM2B_NAME& object, const TPM2B_NAME& new_parent);
  void policy_template(ESYS_TR session, const TPM2B_DIGEST& hash);
  void policy_nv_written(ESYS_TR session);
  [[nodiscard]] Ticket policy_signed(ESYS_TR session, ESYS_TR key, const TPM2B_NONCE& nonce, std::int32_t expiration,
                                     const TPMT_SIGNATURE& signature);
  void policy_ticket(ESYS_TR session, const TPM2B_NAME& authority, const Ticket& ticket);
  void policy_authorize(ESYS_TR session, const Approval& approval);
  void policy_secret(ESYS_TR session, ESYS_TR entity, ESYS_TR authorized_by, const TPM2B_NONCE& nonce = {});

  // --- the chip
  void extend_pcr(unsigned pcr);
  [[nodiscard]] std::uint32_t pcr_update_counter();
  [[nodiscard]] std::uint32_t lockout_counter();

 private:
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
};

// The template of a sealed object on these terms, and its hash for PolicyTemplate.
[[nodiscard]] TPM2B_PUBLIC sealed_template(const Terms& terms);
[[nodiscard]] TPM2B_DIGEST template_hash(const TPM2B_PUBLIC& wanted);

}  // namespace tpmspace::storm
