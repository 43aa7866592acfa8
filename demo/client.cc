#include "demo/client.h"

#include <openssl/rand.h>

#include <iostream>

#include "demo/client_words.h"
#include "demo/kit/esys.h"
#include "demo/proof.h"

namespace tpmspace::demo {
namespace {

constexpr unsigned kPcr = 7;
constexpr std::size_t kPasswordSize = 16, kSecretSize = 48;

Bytes random_bytes(std::size_t n) {
  Bytes out(n);
  if (RAND_bytes(out.data(), static_cast<int>(n)) != 1) throw Failure{"random numbers", 0};
  return out;
}

Bytes text_of(const std::string& text) {
  return {text.begin(), text.end()};
}

struct Tally {
  unsigned signatures = 0, quotes = 0, secrets = 0, wrong = 0;

  void count(unsigned& kind, bool right) { ++(right ? kind : wrong); }
};

class Client {
 public:
  Client(unsigned number, const std::string& tcti) : number_(number), tpm_(tcti) {}

  void set_up() {
    const Key parent = tpm_.create_primary(KeyUse::kStorage, {}, {}, ESYS_TR_PASSWORD);
    session_ = tpm_.start_hmac_session(&parent);
    const Blob sealed = tpm_.seal(parent, secret_, policy_of_secret(), session_);
    sealed_ = tpm_.load(parent, sealed, session_);
    tpm_.flush(parent.handle);
    signing_ = tpm_.create_primary(KeyUse::kSigning, random_bytes(32), random_bytes(kPasswordSize), session_);
    quoting_ = tpm_.create_primary(KeyUse::kQuoting, random_bytes(32), random_bytes(kPasswordSize), session_);
  }

  void go_round(unsigned round) {
    const Bytes message = text_of("client " + std::to_string(number_) + ", round " + std::to_string(round));
    const TPM2B_DIGEST digest = sha256(message);
    tally_.count(tally_.signatures, is_signed_by(signing_, digest, tpm_.sign(signing_, digest, session_)));
    tally_.count(tally_.quotes, is_quote_of(quoting_, message, tpm_.quote(quoting_, message, kPcr, session_)));
    tally_.count(tally_.secrets, unseal() == secret_);
  }

  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  void fulfil_policy(ESYS_TR session) {
    tpm_.policy_pcr(session, kPcr);
    tpm_.policy_command_code(session, TPM2_CC_Unseal);
  }
  TPM2B_DIGEST policy_of_secret() {
    const ESYS_TR trial = tpm_.start_policy_session(TPM2_SE_TRIAL);
    fulfil_policy(trial);
    const TPM2B_DIGEST digest = tpm_.policy_digest(trial);
    tpm_.flush(trial);
    return digest;
  }
  Bytes unseal() {
    const ESYS_TR policy = tpm_.start_policy_session(TPM2_SE_POLICY);
    fulfil_policy(policy);
    return tpm_.unseal(sealed_, policy, session_);
  }

  const unsigned number_;
  const Bytes secret_ = random_bytes(kSecretSize);
  Tpm tpm_;
  ESYS_TR session_ = ESYS_TR_NONE, sealed_ = ESYS_TR_NONE;
  Key signing_, quoting_;
  Tally tally_;
};

// False: the demonstration is no longer there.
bool wait_at(const std::string& place) {
  std::cout << "at " << place << std::endl;
  std::string line;
  return static_cast<bool>(std::getline(std::cin, line));
}

}  // namespace

int run_client(unsigned number, const std::string& tcti, unsigned rounds) {
  try {
    Client client(number, tcti);
    if (!wait_at(kAtConnected)) return 1;
    client.set_up();
    if (!wait_at(kAtReady)) return 1;
    for (unsigned round = 0; round < rounds; ++round) client.go_round(round);
    const Tally& tally = client.tally();
    const std::string sums = " " + std::to_string(tally.signatures) + " " + std::to_string(tally.quotes) + " " +
                             std::to_string(tally.secrets) + " " + std::to_string(tally.wrong);
    return wait_at(kAtDone + sums) && tally.wrong == 0 ? 0 : 1;
  } catch (const Failure& failure) {
    std::cout << "failed " << failure.code << " " << failure.command << std::endl;
    return 1;
  }
}

}  // namespace tpmspace::demo
