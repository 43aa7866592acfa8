#include <utility>

#include "errand.h"

namespace tpmspace::storm {
namespace {

// Everything here is protected against guessing: a password that arrives wrong is counted by the TPM.
const Bytes kGuardedPassword{'r', 'i', 'g', 'h', 't'};

void only_unseal(Tpm& tpm, ESYS_TR session) {
  tpm.policy_command_code(session, TPM2_CC_Unseal);
}

// PolicyAuthValue: the command's HMAC is made with the object's password, over the nonces.
class AuthValueErrand : public Errand {
 public:
  // `late`: it is said only right before the use.
  AuthValueErrand(Cipher cipher, bool late) : Errand(cipher), late_(late) {}

  void prepare(Tpm& tpm, View secret) override {
    digest_ = tpm.digest_of([](Tpm& some, ESYS_TR session) {
      only_unseal(some, session);
      some.policy_auth_value(session);
    });
    object_ = tpm.seal(secret, {.policy = digest_, .password = kGuardedPassword, .counts = true});
  }
  void fulfil(Tpm& tpm) override {
    only_unseal(tpm, session_);
    if (!late_) tpm.policy_auth_value(session_);
  }
  Bytes use(Tpm& tpm, bool keep) override {
    if (late_) tpm.policy_auth_value(session_);
    set_attributes(tpm, keep);
    Bytes secret = tpm.unseal(object_, {.first = session_});
    used(keep);
    return secret;
  }

 private:
  const bool late_;
  ESYS_TR object_ = ESYS_TR_NONE;
};

// A parent, and Create under it with the secret encrypted on its way: the opened secret is the secret that arrived.
class CreatingErrand : public Errand {
 public:
  explicit CreatingErrand() : Errand(Cipher::kAes) {}

  void prepare(Tpm& tpm, View secret) override {
    secret_.assign(secret.begin(), secret.end());
    parent_ = tpm.create_primary(
        KeyUse::kStorage, {.policy = digest_, .password = kGuardedPassword, .password_too = true, .counts = true});
  }

 protected:
  Bytes create_and_unseal(Tpm& tpm, Sessions sessions) {
    const ESYS_TR object = tpm.load(parent_, tpm.create(parent_, secret_, {}, sessions));
    Bytes secret = tpm.unseal(object);
    tpm.flush(object);
    return secret;
  }

  ESYS_TR parent_ = ESYS_TR_NONE;

 private:
  Bytes secret_;
};

class PolicyDecryptErrand : public CreatingErrand {
 public:
  void prepare(Tpm& tpm, View secret) override {
    digest_ = tpm.digest_of(create_only);
    CreatingErrand::prepare(tpm, secret);
  }
  void fulfil(Tpm& tpm) override { create_only(tpm, session_); }
  Bytes use(Tpm& tpm, bool keep) override {
    tpm.set_attributes(session_, kDecrypt | (keep ? kContinue : 0));
    Bytes secret = create_and_unseal(tpm, {.first = session_});
    used(keep);
    return secret;
  }

 private:
  static void create_only(Tpm& tpm, ESYS_TR session) { tpm.policy_command_code(session, TPM2_CC_Create); }
};

// An HMAC session authorizes; a policy session only decrypts, or only encrypts.
class BesideErrand : public CreatingErrand {
 public:
  explicit BesideErrand(TPMA_SESSION direction) : direction_(direction) {}

  void prepare(Tpm& tpm, View secret) override {
    CreatingErrand::prepare(tpm, secret);
    object_ = tpm.seal(secret, {.password = kGuardedPassword, .counts = true});
  }
  void start(Tpm& tpm) override {
    CreatingErrand::start(tpm);
    authorizing_ = tpm.start(TPM2_SE_HMAC, Cipher::kNone);
  }
  void fulfil(Tpm&) override {}
  Bytes use(Tpm& tpm, bool keep) override {
    tpm.set_attributes(session_, direction_ | (keep ? kContinue : 0));
    tpm.set_attributes(authorizing_, kContinue);
    const Sessions both{.first = authorizing_, .second = session_};
    Bytes secret = direction_ == kDecrypt ? create_and_unseal(tpm, both) : tpm.unseal(object_, both);
    used(keep);
    return secret;
  }
  void drop(Tpm& tpm) override {
    CreatingErrand::drop(tpm);
    if (authorizing_ != ESYS_TR_NONE) tpm.forget(std::exchange(authorizing_, ESYS_TR_NONE));
  }

 private:
  const TPMA_SESSION direction_;
  ESYS_TR object_ = ESYS_TR_NONE, authorizing_ = ESYS_TR_NONE;
};

// An HMAC session, as it is or salted or bound, that decrypts the responses of the commands that it authorizes.
enum class Root : std::uint8_t { kNothing, kSalt, kBinding };
class HmacErrand : public CreatingErrand {
 public:
  explicit HmacErrand(Root root) : root_(root) {}

  void start(Tpm& tpm) override {
    const ESYS_TR salting = root_ == Root::kSalt ? parent_ : ESYS_TR_NONE;
    const ESYS_TR binding = root_ == Root::kBinding ? parent_ : ESYS_TR_NONE;
    session_ = tpm.start(TPM2_SE_HMAC, cipher_, salting, binding);
  }
  void fulfil(Tpm&) override {}
  Bytes use(Tpm& tpm, bool keep) override {
    tpm.set_attributes(session_, kDecrypt | (keep ? kContinue : 0));
    Bytes secret = create_and_unseal(tpm, {.first = session_});
    used(keep);
    return secret;
  }

 private:
  const Root root_;
};

class SaltedPolicyErrand : public Errand {
 public:
  SaltedPolicyErrand() : Errand(Cipher::kAes) {}

  void prepare(Tpm& tpm, View secret) override {
    digest_ = tpm.digest_of(only_unseal);
    salting_ = tpm.create_primary(KeyUse::kStorage);
    object_ = tpm.seal(secret, {.policy = digest_});
  }
  void start(Tpm& tpm) override { session_ = tpm.start(TPM2_SE_POLICY, cipher_, salting_); }
  void fulfil(Tpm& tpm) override { only_unseal(tpm, session_); }
  Bytes use(Tpm& tpm, bool keep) override {
    set_attributes(tpm, keep);
    Bytes secret = tpm.unseal(object_, {.first = session_});
    used(keep);
    return secret;
  }

 private:
  ESYS_TR salting_ = ESYS_TR_NONE, object_ = ESYS_TR_NONE;
};

// PolicySigned over the session's nonce: good for this session only.
class SignedNonceErrand : public Errand {
 public:
  using Errand::Errand;

  void prepare(Tpm& tpm, View secret) override {
    key_ = tpm.create_primary(KeyUse::kSigning);
    digest_ = tpm.digest_of([this](Tpm& some, ESYS_TR session) { sign(some, session); });
    object_ = tpm.seal(secret, {.policy = digest_});
  }
  void fulfil(Tpm& tpm) override { sign(tpm, session_); }
  Bytes use(Tpm& tpm, bool keep) override {
    set_attributes(tpm, keep);
    Bytes secret = tpm.unseal(object_, {.first = session_});
    used(keep);
    return secret;
  }

 private:
  void sign(Tpm& tpm, ESYS_TR session) {
    const TPM2B_NONCE nonce = tpm.nonce_of(session);
    (void)tpm.policy_signed(session, key_, nonce, 0, tpm.sign(key_, sha256({view(nonce), bytes(0)})));
  }

  ESYS_TR key_ = ESYS_TR_NONE, object_ = ESYS_TR_NONE;
};

// PolicySecret of a protected entity: with the session's nonce, or authorized by an HMAC session, whose cpHash then has
// the policy session's number in it.
class SecretErrand : public Errand {
 public:
  enum class How : std::uint8_t { kWithNonce, kByHmac, kPlain };
  SecretErrand(Cipher cipher, How how) : Errand(cipher), how_(how) {}

  void prepare(Tpm& tpm, View secret) override {
    entity_ = tpm.seal(kGuardedPassword, {.password = kGuardedPassword, .counts = true});
    digest_ =
        tpm.digest_of([this](Tpm& some, ESYS_TR session) { some.policy_secret(session, entity_, ESYS_TR_PASSWORD); });
    object_ = tpm.seal(secret, {.policy = digest_});
  }
  void start(Tpm& tpm) override {
    Errand::start(tpm);
    if (how_ == How::kByHmac) authorizing_ = tpm.start(TPM2_SE_HMAC, Cipher::kNone);
  }
  void fulfil(Tpm& tpm) override {
    const TPM2B_NONCE nonce = how_ == How::kWithNonce ? tpm.nonce_of(session_) : TPM2B_NONCE{};
    if (how_ == How::kByHmac) tpm.set_attributes(authorizing_, kContinue);
    tpm.policy_secret(session_, entity_, how_ == How::kByHmac ? authorizing_ : ESYS_TR_PASSWORD, nonce);
  }
  Bytes use(Tpm& tpm, bool keep) override {
    set_attributes(tpm, keep);
    Bytes secret = tpm.unseal(object_, {.first = session_});
    used(keep);
    return secret;
  }
  void drop(Tpm& tpm) override {
    Errand::drop(tpm);
    if (authorizing_ != ESYS_TR_NONE) tpm.forget(std::exchange(authorizing_, ESYS_TR_NONE));
  }

 private:
  const How how_;
  ESYS_TR entity_ = ESYS_TR_NONE, object_ = ESYS_TR_NONE, authorizing_ = ESYS_TR_NONE;
};

using Made = std::unique_ptr<Errand>;

constexpr Kind kUnreplayable[] = {
    {"auth-value", [](unsigned, Cipher cipher) -> Made { return std::make_unique<AuthValueErrand>(cipher, false); }},
    {"auth-value-late",
     [](unsigned, Cipher cipher) -> Made { return std::make_unique<AuthValueErrand>(cipher, true); }},
    {"policy-decrypts", [](unsigned, Cipher) -> Made { return std::make_unique<PolicyDecryptErrand>(); }},
    {"decrypts-beside", [](unsigned, Cipher) -> Made { return std::make_unique<BesideErrand>(kDecrypt); }},
    {"encrypts-beside", [](unsigned, Cipher) -> Made { return std::make_unique<BesideErrand>(kEncrypt); }},
    {"hmac-decrypts", [](unsigned, Cipher) -> Made { return std::make_unique<HmacErrand>(Root::kNothing); }},
    {"salted-hmac", [](unsigned, Cipher) -> Made { return std::make_unique<HmacErrand>(Root::kSalt); }},
    {"bound-hmac", [](unsigned, Cipher) -> Made { return std::make_unique<HmacErrand>(Root::kBinding); }},
    {"salted-policy", [](unsigned, Cipher) -> Made { return std::make_unique<SaltedPolicyErrand>(); }},
    {"signed-nonce", [](unsigned, Cipher cipher) -> Made { return std::make_unique<SignedNonceErrand>(cipher); }},
    {"secret-nonce",
     [](unsigned, Cipher cipher) -> Made {
       return std::make_unique<SecretErrand>(cipher, SecretErrand::How::kWithNonce);
     }},
    {"secret-hmac",
     [](unsigned, Cipher cipher) -> Made {
       return std::make_unique<SecretErrand>(cipher, SecretErrand::How::kByHmac);
     }},
    {"secret-password",
     [](unsigned, Cipher cipher) -> Made { return std::make_unique<SecretErrand>(cipher, SecretErrand::How::kPlain); }},
};

constexpr Kind kHmac{"hmac", [](unsigned, Cipher) -> Made { return std::make_unique<HmacErrand>(Root::kNothing); }};

}  // namespace

std::span<const Kind> unreplayable_kinds() {
  return kUnreplayable;
}

const Kind& hmac_kind() {
  return kHmac;
}

}  // namespace tpmspace::storm
