// The task of one client of the storm: its own secret that opens to a session, and the way to open it.
//
// Idea: an errand is prepared once; then its session is started, its policy fulfilled, and it is used, each as a step
// of its own, so that the steps of a thousand clients can be interleaved as one likes. `use` returns the opened secret,
// which must be the client's secret. Threads: as its `Tpm`. Errors: `Failure`.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tpm.h"

namespace tpmspace::storm {

class Errand {
 public:
  explicit Errand(Cipher cipher) : cipher_(cipher) {}
  Errand(const Errand&) = delete;
  Errand& operator=(const Errand&) = delete;
  virtual ~Errand() = default;

  [[nodiscard]] virtual unsigned locality() const { return 0; }
  // Preparation before the session.
  virtual void prepare(Tpm& tpm, View secret) = 0;
  virtual void start(Tpm& tpm) { session_ = tpm.start(TPM2_SE_POLICY, cipher_); }
  virtual void fulfil(Tpm& tpm) = 0;
  // The opened secret. `keep`: the session stays, without its policy; else it is gone.
  [[nodiscard]] virtual Bytes use(Tpm& tpm, bool keep) = 0;
  // Flushes the rest of its sessions.
  virtual void drop(Tpm& tpm) {
    if (session_ != ESYS_TR_NONE) tpm.forget(session_);
    session_ = ESYS_TR_NONE;
  }
  // Removes entities that would outlive the connection.
  virtual void finish(Tpm&) {}

  // The expected policyDigest of the session after `fulfil`.
  [[nodiscard]] const TPM2B_DIGEST& digest() const { return digest_; }
  [[nodiscard]] ESYS_TR session() const { return session_; }

 protected:
  void set_attributes(Tpm& tpm, bool keep) {
    TPMA_SESSION attributes = keep ? kContinue : 0;
    if (cipher_ == Cipher::kAes && can_decrypt()) attributes |= kEncrypt;
    tpm.set_attributes(session_, attributes);
  }
  // Whether ESYS can decrypt a response in such a session.
  [[nodiscard]] virtual bool can_decrypt() const { return true; }
  void used(bool keep) {
    if (!keep) session_ = ESYS_TR_NONE;
  }

  const Cipher cipher_;
  ESYS_TR session_ = ESYS_TR_NONE;
  TPM2B_DIGEST digest_{};
};

struct Kind {
  const char* name;
  // `number`: of the client, different for each.
  std::unique_ptr<Errand> (*make)(unsigned number, Cipher cipher);
};

// Whose policy sessions can be rebuilt by sending their policy commands again.
[[nodiscard]] std::span<const Kind> replayable_kinds();
// The one that opens while PCR `pcr` is as it was when the object was made.
[[nodiscard]] std::unique_ptr<Errand> make_pcr_errand(unsigned pcr, Cipher cipher);
// Whose sessions cannot, or where ESYS needs to know the newest nonce.
[[nodiscard]] std::span<const Kind> unreplayable_kinds();
// An HMAC session that authorizes with a password, which must not be guessed wrong.
[[nodiscard]] const Kind& hmac_kind();

}  // namespace tpmspace::storm
