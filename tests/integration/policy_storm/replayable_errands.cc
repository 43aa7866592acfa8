#include <utility>

#include "errand.h"

namespace tpmspace::storm {
namespace {

constexpr unsigned kPcr = 5;
const Bytes kPassword{'w', 'o', 'r', 'd'};

// A sealed object whose policy is a function of the session alone.
class SealedErrand : public Errand {
 public:
  SealedErrand(Cipher cipher, Tpm::Policy policy, Bytes password = {}, unsigned locality = 0)
      : Errand(cipher), policy_(std::move(policy)), password_(std::move(password)), locality_(locality) {}

  unsigned locality() const override { return locality_; }
  void prepare(Tpm& tpm, View secret) override {
    digest_ = tpm.digest_of(policy_);
    object_ = tpm.seal(secret, {.policy = digest_, .password = password_});
  }
  void fulfil(Tpm& tpm) override { policy_(tpm, session_); }
  Bytes use(Tpm& tpm, bool keep) override {
    set_attributes(tpm, keep);
    Bytes secret = tpm.unseal(object_, {.first = session_});
    used(keep);
    return secret;
  }

 protected:
  explicit SealedErrand(Cipher cipher) : SealedErrand(cipher, {}) {}
  // After PolicyPassword ESYS (3.2.1) does not take the response's nonce, so that decrypted data is rubbish with every
  // TPM.
  bool can_decrypt() const override { return password_.empty(); }

  Tpm::Policy policy_;
  const Bytes password_;
  const unsigned locality_;
  ESYS_TR object_ = ESYS_TR_NONE;
};

void unseal_only(Tpm& tpm, ESYS_TR session) {
  tpm.policy_command_code(session, TPM2_CC_Unseal);
}

// PolicyOR of that and another branch, where the session already is on the first.
void either(Tpm& tpm, ESYS_TR session, const Tpm::Policy& branch) {
  branch(tpm, session);
  TPML_DIGEST branches{};
  branches.count = 2;
  branches.digests[0] = sha256({bytes(0)});
  branches.digests[1] = tpm.policy_digest(session);
  tpm.policy_or(session, branches);
}

void several(Tpm& tpm, ESYS_TR session) {
  tpm.policy_locality(session, TPMA_LOCALITY_TPM2_LOC_ZERO | TPMA_LOCALITY_TPM2_LOC_ONE);
  tpm.policy_pcr(session, kPcr);
  either(tpm, session, unseal_only);
  tpm.policy_password(session);
}

// A sealed object whose policy is any policy that an authority approves. The approval comes after the object, so that
// it may name it.
class ApprovedErrand : public SealedErrand {
 public:
  using Conditions = void (*)(Tpm& tpm, ESYS_TR session, const TPM2B_NAME& object);
  ApprovedErrand(Cipher cipher, Conditions conditions) : SealedErrand(cipher), conditions_(conditions) {}

  void prepare(Tpm& tpm, View secret) override {
    const ESYS_TR authority = tpm.create_primary(KeyUse::kSigning);
    approval_.authority = tpm.name_of(authority);
    approval_.reference = {3, {'r', 'e', 'f'}};
    approval_.ticket.tag = TPM2_ST_VERIFIED;
    approval_.ticket.hierarchy = TPM2_RH_NULL;  // a trial session does not look at it
    policy_ = [this](Tpm& some, ESYS_TR session) { some.policy_authorize(session, approval_); };
    SealedErrand::prepare(tpm, secret);
    name_ = tpm.name_of(object_);
    approval_.approved = tpm.digest_of([this](Tpm& some, ESYS_TR session) { conditions_(some, session, name_); });
    const TPM2B_DIGEST signed_digest = sha256({view(approval_.approved), view(approval_.reference)});
    approval_.ticket = tpm.verify(authority, signed_digest, tpm.sign(authority, signed_digest));
    tpm.flush(authority);
  }
  void fulfil(Tpm& tpm) override {
    conditions_(tpm, session_, name_);
    policy_(tpm, session_);
  }

 private:
  const Conditions conditions_;
  Approval approval_;
  TPM2B_NAME name_{};
};

void this_command(Tpm& tpm, ESYS_TR session, const TPM2B_NAME& object) {
  tpm.policy_cp_hash(session, sha256({bytes(TPM2_CC_Unseal), view(object)}));
}

void this_object(Tpm& tpm, ESYS_TR session, const TPM2B_NAME& object) {
  tpm.policy_name_hash(session, sha256({view(object)}));
}

void these_pcrs(Tpm& tpm, ESYS_TR session, const TPM2B_NAME&) {
  tpm.policy_pcr(session, kPcr);
  unseal_only(tpm, session);
}

// PolicySigned without a nonce: the same signature is good for every session. Every other client flushes the key as
// soon as it has been used; it is not there when the session comes back.
class SignedErrand : public SealedErrand {
 public:
  explicit SignedErrand(Cipher cipher, std::int32_t expiration = 0) : SealedErrand(cipher), expiration_(expiration) {}

  void prepare(Tpm& tpm, View secret) override {
    key_ = tpm.create_primary(KeyUse::kSigning);
    authority_ = tpm.name_of(key_);
    signature_ = tpm.sign(key_, sha256({bytes(static_cast<std::uint32_t>(expiration_))}));
    policy_ = [this](Tpm& some, ESYS_TR session) { sign(some, session); };
    SealedErrand::prepare(tpm, secret);
    if (!keeps_key()) tpm.flush(key_);
  }
  void fulfil(Tpm& tpm) override {
    if (keeps_key()) return sign(tpm, session_);
    key_ = tpm.create_primary(KeyUse::kSigning);
    sign(tpm, session_);
    tpm.flush(key_);
  }

 protected:
  void sign(Tpm& tpm, ESYS_TR session) { ticket_ = tpm.policy_signed(session, key_, {}, expiration_, signature_); }

  TPM2B_NAME authority_{};
  Ticket ticket_;

 private:
  [[nodiscard]] bool keeps_key() const { return cipher_ == Cipher::kNone; }

  const std::int32_t expiration_;
  ESYS_TR key_ = ESYS_TR_NONE;
  TPMT_SIGNATURE signature_{};
};

// PolicyTicket with the ticket of a PolicySigned.
class TicketErrand : public SignedErrand {
 public:
  explicit TicketErrand(Cipher cipher) : SignedErrand(cipher, -24 * 3600) {}  // below 0: a ticket is wanted

  void prepare(Tpm& tpm, View secret) override {
    SignedErrand::prepare(tpm, secret);
    start(tpm);  // a trial session gives no ticket
    SignedErrand::fulfil(tpm);
    drop(tpm);
  }
  void fulfil(Tpm& tpm) override { tpm.policy_ticket(session_, authority_, ticket_); }
};

// PolicyDuplicationSelect: the object may go to one other parent, and there it opens.
class DuplicationErrand : public Errand {
 public:
  using Errand::Errand;

  void prepare(Tpm& tpm, View secret) override {
    const Bytes unique{'n', 'e', 'w'};
    new_parent_ = tpm.create_primary(KeyUse::kStorage, {}, unique);
    digest_ = tpm.digest_of([this](Tpm& some, ESYS_TR session) { select(some, session, {}); });
    object_ = tpm.seal(secret, {.policy = digest_, .password_too = true, .may_leave = true});
  }
  void fulfil(Tpm& tpm) override { select(tpm, session_, tpm.name_of(object_)); }
  Bytes use(Tpm& tpm, bool keep) override {
    set_attributes(tpm, keep);
    Bytes secret = tpm.unseal_duplicate(object_, new_parent_, session_);
    used(keep);
    return secret;
  }

 private:
  // The object's name is no part of the digest.
  void select(Tpm& tpm, ESYS_TR session, const TPM2B_NAME& object) {
    tpm.policy_duplication_select(session, object, tpm.name_of(new_parent_));
  }

  ESYS_TR new_parent_ = ESYS_TR_NONE, object_ = ESYS_TR_NONE;
};

// PolicyTemplate: only such an object may be made under this parent.
class TemplateErrand : public Errand {
 public:
  using Errand::Errand;

  void prepare(Tpm& tpm, View secret) override {
    secret_.assign(secret.begin(), secret.end());
    digest_ = tpm.digest_of(only_such);
    parent_ = tpm.create_primary(KeyUse::kStorage, {.policy = digest_, .password_too = true});
  }
  void fulfil(Tpm& tpm) override { only_such(tpm, session_); }
  Bytes use(Tpm& tpm, bool keep) override {
    set_attributes(tpm, keep);
    const Blob blob = tpm.create(parent_, secret_, {}, {.first = session_});
    used(keep);
    const ESYS_TR object = tpm.load(parent_, blob);
    Bytes secret = tpm.unseal(object);
    tpm.flush(object);
    return secret;
  }

 private:
  static void only_such(Tpm& tpm, ESYS_TR session) { tpm.policy_template(session, template_hash(sealed_template({}))); }

  Bytes secret_;
  ESYS_TR parent_ = ESYS_TR_NONE;
};

// PolicyNvWritten: an index that opens once it was written.
class NvErrand : public Errand {
 public:
  NvErrand(unsigned number, Cipher cipher) : Errand(cipher), number_(number) {}

  void prepare(Tpm& tpm, View secret) override {
    size_ = static_cast<std::uint16_t>(secret.size());
    digest_ = tpm.digest_of(written);
    index_ = tpm.define_index(kFirstIndex + number_, secret, digest_);
  }
  void fulfil(Tpm& tpm) override { written(tpm, session_); }
  Bytes use(Tpm& tpm, bool keep) override {
    set_attributes(tpm, keep);
    Bytes secret = tpm.read_index(index_, size_, session_);
    used(keep);
    return secret;
  }
  void finish(Tpm& tpm) override {
    if (index_ != ESYS_TR_NONE) tpm.undefine_index(std::exchange(index_, ESYS_TR_NONE));
  }

 private:
  static constexpr TPM2_HANDLE kFirstIndex = 0x01400000;
  static void written(Tpm& tpm, ESYS_TR session) { tpm.policy_nv_written(session); }

  const unsigned number_;
  std::uint16_t size_ = 0;
  ESYS_TR index_ = ESYS_TR_NONE;
};

using Made = std::unique_ptr<Errand>;

Made make_locality(unsigned, Cipher cipher) {
  if (cipher == Cipher::kNone)
    return std::make_unique<SealedErrand>(
        cipher, [](Tpm& tpm, ESYS_TR session) { tpm.policy_locality(session, TPMA_LOCALITY_TPM2_LOC_ZERO); });
  const auto three = [](Tpm& tpm, ESYS_TR session) { tpm.policy_locality(session, TPMA_LOCALITY_TPM2_LOC_THREE); };
  return std::make_unique<SealedErrand>(cipher, three, Bytes{}, 3);
}

constexpr Kind kReplayable[] = {
    {"pcr", [](unsigned, Cipher cipher) { return make_pcr_errand(kPcr, cipher); }},
    {"command-code",
     [](unsigned, Cipher cipher) -> Made { return std::make_unique<SealedErrand>(cipher, unseal_only); }},
    {"or",
     [](unsigned, Cipher cipher) -> Made {
       return std::make_unique<SealedErrand>(cipher,
                                             [](Tpm& tpm, ESYS_TR session) { either(tpm, session, unseal_only); });
     }},
    {"locality", make_locality},
    {"password",
     [](unsigned, Cipher cipher) -> Made {
       return std::make_unique<SealedErrand>(
           cipher, [](Tpm& tpm, ESYS_TR session) { tpm.policy_password(session); }, kPassword);
     }},
    {"cp-hash", [](unsigned, Cipher cipher) -> Made { return std::make_unique<ApprovedErrand>(cipher, this_command); }},
    {"name-hash",
     [](unsigned, Cipher cipher) -> Made { return std::make_unique<ApprovedErrand>(cipher, this_object); }},
    {"duplication-select", [](unsigned, Cipher cipher) -> Made { return std::make_unique<DuplicationErrand>(cipher); }},
    {"template", [](unsigned, Cipher cipher) -> Made { return std::make_unique<TemplateErrand>(cipher); }},
    {"nv-written", [](unsigned number, Cipher cipher) -> Made { return std::make_unique<NvErrand>(number, cipher); }},
    {"ticket", [](unsigned, Cipher cipher) -> Made { return std::make_unique<TicketErrand>(cipher); }},
    {"authorize", [](unsigned, Cipher cipher) -> Made { return std::make_unique<ApprovedErrand>(cipher, these_pcrs); }},
    {"signed", [](unsigned, Cipher cipher) -> Made { return std::make_unique<SignedErrand>(cipher); }},
    {"several",
     [](unsigned, Cipher cipher) -> Made { return std::make_unique<SealedErrand>(cipher, several, kPassword); }},
};

}  // namespace

std::span<const Kind> replayable_kinds() {
  return kReplayable;
}

std::unique_ptr<Errand> make_pcr_errand(unsigned pcr, Cipher cipher) {
  return std::make_unique<SealedErrand>(cipher, [pcr](Tpm& tpm, ESYS_TR session) { tpm.policy_pcr(session, pcr); });
}

}  // namespace tpmspace::storm
