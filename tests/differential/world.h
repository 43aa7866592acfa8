// A small world inside libtpms: the TPM in this process with one of each thing that a command can name.
//
// Idea: libtpms is the judge of wire's parser and table, so it must have the entities that the commands name, always
// under the same handles. Keys exist twice: as a saved context that is loaded when a command's cast wants it
// (transient), and as a persistent object. Every authorization value is empty; nothing that is used counts against the
// dictionary-attack limit. `arrange` puts exactly the wanted things on stage; `stage_is_intact` and `house_is_intact`
// tell whether a command left the world as it was; `rebuild` makes a new TPM. Threads: one. There is at most one World
// in a process (libtpms is global to it). Errors: a world that cannot be built throws std::runtime_error: then there is
// nothing to test against.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "tpm/bring_up.h"
#include "tpm/embedded.h"
#include "wire/bytes.h"
#include "wire/command_table.h"
#include "wire/rc.h"

namespace tpmspace::differential {

using wire::Bytes;
using wire::ByteView;

// Everything that a command of ours names.
enum class Who : std::uint8_t {
  kOwner,
  kEndorsement,
  kPlatform,
  kLockout,
  kNull,
  kPcr,  // 16, which all users may reset
  // Keys, each transient or persistent.
  kStorage,     // a restricted decryption key: parent of the children
  kSigner,      // ECDSA
  kX509Signer,  // ECDSA, for CertifyX509 alone
  kDh,          // ECDH
  kDaa,         // ECDAA
  kRsa,         // decrypts
  kMac,         // HMAC
  kCipher,      // AES
  kSealed,      // a child with data
  kDuplicable,  // a child that may leave
  // Sequences, always transient.
  kHashSequence,
  kEventSequence,
  kMacSequence,
  // Sessions.
  kHmacSession,
  kPolicySession,
  // NV indices.
  kNvPlain,
  kNvCounter,
  kNvBits,
  kNvExtend,
  kNvLock,        // is locked, and nothing else
  kNvPolicy,      // holds the digest of an empty policy
  kNvSpecial,     // only a policy deletes it
  kNvChangeable,  // only a policy changes its authorization
};

struct Party {
  Who who = Who::kOwner;
  bool persistent = false;
  auto operator<=>(const Party&) const = default;
};
[[nodiscard]] bool takes_a_slot(Party party);  // transient objects and sequences

struct Answer {
  wire::Rc code = 0;
  std::uint32_t handle = 0;
  Bytes parameters;
};

// The parts of the examples' parameters: made once for each TPM.
struct Material {
  Bytes child;              // TPM2B_PRIVATE and TPM2B_PUBLIC of the sealed object
  Bytes duplicate_public;   // TPM2B_PUBLIC
  Bytes duplicate_private;  // TPM2B_PRIVATE, for kStorage
  Bytes duplicate_seed;     // TPM2B_ENCRYPTED_SECRET
  Bytes duplicate_name;     // TPM2B_NAME
  Bytes creation_hash;      // TPM2B_DIGEST, of the signer
  Bytes creation_ticket;    // TPMT_TK_CREATION
  Bytes credential;         // TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET: for the signer, by kStorage
  Bytes signer_public;      // TPM2B_PUBLIC
  Bytes signer_name;        // TPM2B_NAME
  Bytes point;              // TPM2B_ECC_POINT on the curve of kDh
  Bytes rsa_cipher;         // TPM2B, encrypted to kRsa
  Bytes signature;          // TPMT_SIGNATURE over `digest`
  Bytes digest;             // TPM2B_DIGEST
  Bytes approval;           // TPMT_TK_VERIFIED for an empty approved policy
  Bytes policy_signature;   // TPMT_SIGNATURE for PolicySigned without conditions
  Bytes policy_ticket;      // TPM2B_TIMEOUT, cpHashA, policyRef, authName, TPMT_TK_AUTH: of PolicySigned
  std::map<wire::CommandCode, Bytes> policies;  // the digest of PolicyCommandCode alone
};

class World {
 public:
  World();
  ~World();

  // A new TPM with all its inhabitants.
  void rebuild();
  [[nodiscard]] const wire::CommandTable& table() const { return table_; }  // as the TPM describes itself
  [[nodiscard]] const tpm::ChipFacts& facts() const { return facts_; }
  [[nodiscard]] const Material& material() const { return material_; }
  [[nodiscard]] unsigned rebuilt() const { return rebuilt_; }

  [[nodiscard]] Bytes send(ByteView command);
  [[nodiscard]] Answer ask(ByteView command);     // any well-formed answer
  [[nodiscard]] Answer demand(ByteView command);  // a success

  // On stage are: the cast's transient objects in that order from 80000000, then `dummies` more; the two sessions,
  // fresh; everything that always is.
  void arrange(const std::vector<Party>& cast, unsigned dummies = 0);
  // Precondition: on stage.
  [[nodiscard]] std::uint32_t handle(Party party) const;
  // Whether the stage is as `arrange` left it.
  [[nodiscard]] bool stage_is_intact();
  // Whether persistent objects, NV indices, enabled hierarchies and authorization values are as they were built.
  [[nodiscard]] bool house_is_intact();
  // The policy session then permits the command with that code.
  void permit(wire::CommandCode code);
  // The HMAC session becomes an audit session.
  void audit();

  // The next command must be a Startup; the stage is gone.
  void lose_power();

  // Free object slots of the empty TPM.
  [[nodiscard]] unsigned slots() const { return facts_.object_slots; }

 private:
  void make_policies();
  void make_keys();
  void make_key(Who who);
  void make_sequences();
  void make_nv();
  void make_material();
  void make_duplicate();
  void make_signatures();
  void make_policy_ticket();
  void clear_stage();
  std::uint32_t load(ByteView context);
  Bytes digest_of_policy(wire::CommandCode code);
  // The existing and enabled entities, as bytes that are equal iff the entities are the same.
  Bytes survey_stage();
  Bytes survey_house();

  std::unique_ptr<tpm::EmbeddedTpm> tpm_;
  tpm::ChipFacts facts_;
  wire::CommandTable table_;
  Material material_;
  std::map<Who, Bytes> contexts_;
  std::map<Who, std::uint32_t> on_stage_;
  Bytes session_nonce_;  // the TPM's, of the HMAC session
  Bytes stage_as_arranged_, house_as_built_;
  unsigned rebuilt_ = 0;
};

}  // namespace tpmspace::differential
