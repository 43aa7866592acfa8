// A TPM as an ESYS program sees it: the few commands that the demonstration and the benchmarks send.
//
// Idea: thin and straight. A command that fails ends its client's work, so it throws `Failure`, which is caught in one
// place; everything returned is a value of the TSS's own types. Sessions sign every command with real HMACs and ESYS
// checks the TPM's. Leaving: objects and sessions are *not* flushed when a `Tpm` goes, as they are not when a program
// crashes. Threads: an object is used by one thread. Source: TCG TSS 2.0 Enhanced System API.
#pragma once

#include <tss2/tss2_esys.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tpmspace::demo {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

struct Failure {
  std::string command;  // "Esys_Sign", without the prefix
  TSS2_RC code = 0;
};
// "out of memory for object contexts (0x00000902)".
[[nodiscard]] std::string in_words(TSS2_RC code);

enum class KeyUse : std::uint8_t { kStorage, kSigning, kQuoting };
struct Key {
  ESYS_TR handle = ESYS_TR_NONE;
  TPM2B_PUBLIC area{};
};
struct Blob {
  TPM2B_PRIVATE secret{};
  TPM2B_PUBLIC area{};
};
struct Quote {
  TPM2B_ATTEST attested{};
  TPMT_SIGNATURE signature{};
};

class Tpm {
 public:
  // `tcti` as tctildr takes it: "name:configuration".
  explicit Tpm(const std::string& tcti);
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;
  ~Tpm();

  // P-256 in the owner hierarchy. `unique` makes it another key than every other primary key of the same kind.
  // `session` authorizes and, if it can, encrypts `password`; ESYS_TR_PASSWORD: neither.
  [[nodiscard]] Key create_primary(KeyUse use, View unique, View password, ESYS_TR session);
  // A secret that opens only to a policy session with this digest.
  [[nodiscard]] Blob seal(const Key& parent, View secret, const TPM2B_DIGEST& policy, ESYS_TR session);
  [[nodiscard]] ESYS_TR load(const Key& parent, const Blob& blob, ESYS_TR session);
  void flush(ESYS_TR handle);

  // An HMAC session with AES-128-CFB; `salted_by`: a storage key, or nullptr.
  [[nodiscard]] ESYS_TR start_hmac_session(const Key* salted_by);
  [[nodiscard]] ESYS_TR start_policy_session(TPM2_SE type);  // TPM2_SE_POLICY or TPM2_SE_TRIAL
  void policy_pcr(ESYS_TR session, unsigned pcr);
  void policy_command_code(ESYS_TR session, TPM2_CC code);
  [[nodiscard]] TPM2B_DIGEST policy_digest(ESYS_TR session);

  [[nodiscard]] TPMT_SIGNATURE sign(const Key& key, const TPM2B_DIGEST& digest, ESYS_TR session);
  [[nodiscard]] Quote quote(const Key& key, View nonce, unsigned pcr, ESYS_TR session);
  // The policy session ends with it; `encrypting` hides the secret on its way.
  [[nodiscard]] Bytes unseal(ESYS_TR sealed, ESYS_TR policy, ESYS_TR encrypting);
  [[nodiscard]] Bytes get_random(std::uint16_t bytes);

 private:
  void set_attributes(ESYS_TR session, TPMA_SESSION attributes);

  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
};

}  // namespace tpmspace::demo
