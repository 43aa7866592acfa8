#include "world.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "../support/tpm_commands.h"
#include "parts.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::differential {

using namespace support;
using wire::Reader;

namespace {

constexpr std::uint32_t kFirstPersistent = 0x81000010, kFirstNv = 0x01800001;
constexpr std::uint32_t kHmacSessionHandle = 0x02000000, kPolicySessionHandle = 0x03000001;

constexpr Who kPrimaries[] = {Who::kStorage, Who::kSigner, Who::kX509Signer, Who::kDh,
                              Who::kDaa,     Who::kRsa,    Who::kMac,        Who::kCipher};
constexpr Who kChildren[] = {Who::kSealed, Who::kDuplicable};

bool is_key(Who who) {
  return who >= Who::kStorage && who <= Who::kDuplicable;
}
bool is_sequence(Who who) {
  return who >= Who::kHashSequence && who <= Who::kMacSequence;
}
std::uint32_t offset(Who who, Who from) {
  return static_cast<std::uint32_t>(who) - static_cast<std::uint32_t>(from);
}

[[noreturn]] void fail(std::string_view what, ByteView command, wire::Rc code) {
  std::string hex;
  for (const auto byte : command) hex += fmt::format("{:02x}", byte);
  throw std::runtime_error(fmt::format("the world cannot be built: {} ({:#x}) to {}", what, code, hex));
}

Bytes sha256(ByteView data) {
  Bytes out(32);
  EVP_Digest(data.data(), data.size(), out.data(), nullptr, EVP_sha256(), nullptr);
  return out;
}

Bytes tpm2b_at(Reader& in) {
  const auto body = in.tpm2b();
  if (!body) throw std::runtime_error("the world cannot be built: a response is too short");
  return two_byte(*body);
}

// Public areas; children need a parent and their policies.
Bytes public_of(Who who, const Material& material) {
  switch (who) {
    case Who::kStorage:
      return ecc_public(kOrdinary | kRestricted | kDecrypt, aes_cfb(), null_scheme());
    case Who::kSigner:
      return ecc_public(kOrdinary | kSign, null_scheme(), Writer().u16(kEcdsa).u16(kSha256).take());
    case Who::kX509Signer:
      return ecc_public(kOrdinary | kSign | kX509Sign, null_scheme(), Writer().u16(kEcdsa).u16(kSha256).take());
    case Who::kDh:
      return ecc_public(kOrdinary | kDecrypt, null_scheme(), null_scheme());
    case Who::kDaa:
      return ecc_public(kOrdinary | kSign, null_scheme(), Writer().u16(kEcdaa).u16(kSha256).u16(0).take());
    case Who::kRsa:
      return rsa_public();
    case Who::kMac:
      return keyed_hash_public(kOrdinary | kSign, {}, Writer().u16(kHmac).u16(kSha256).take());
    case Who::kCipher:
      return cipher_public();
    case Who::kSealed:
      return keyed_hash_public(kOrdinary & ~0x20U, {}, null_scheme());
    default:  // kDuplicable: neither fixed
      return keyed_hash_public((kOrdinary & ~0x12U) | kSign, material.policies.at(cc::kDuplicate),
                               Writer().u16(kHmac).u16(kSha256).take());
  }
}

Bytes start_session_with_cipher(SessionType type) {
  const Bytes nonce(16, 0x11);
  return command(cc::kStartAuthSession, {kNull, kNull}, {},
                 Writer().tpm2b(nonce).u16(0).u8(static_cast<std::uint8_t>(type)).raw(aes_cfb()).u16(kSha256).take());
}

}  // namespace

bool takes_a_slot(Party party) {
  return (is_key(party.who) && !party.persistent) || is_sequence(party.who);
}

World::World() {
  rebuild();
  rebuilt_ = 0;
}
World::~World() = default;

void World::rebuild() {
  tpm_.reset();
  on_stage_.clear();
  contexts_.clear();
  material_ = Material{};
  auto opened = tpm::EmbeddedTpm::open("");
  if (!opened) throw std::runtime_error(opened.error());
  tpm_ = std::move(*opened);
  auto facts = tpm::bring_up(*tpm_, tpm::Kind::kEmbedded);
  if (!facts) throw std::runtime_error(facts.error());
  facts_ = std::move(*facts);
  table_ = wire::CommandTable::builtin();
  std::vector<wire::CommandAttributes> attributes;
  for (const auto raw : facts_.commands) attributes.push_back(wire::CommandAttributes{raw});
  (void)table_.adopt(attributes);
  ++rebuilt_;

  (void)demand(
      command(cc::kDictionaryAttackParameters, {kLockout}, password(), Writer().u32(1'000'000).u32(1).u32(1).take()));
  make_policies();
  make_keys();
  make_sequences();
  make_nv();
  make_material();
  arrange({});
  house_as_built_ = survey_house();
}

// --- talking

Bytes World::send(ByteView bytes) {
  auto answer = tpm_->transact(bytes, 0);
  if (!answer) throw std::runtime_error(answer.error().what);
  return std::move(*answer);
}

Answer World::ask(ByteView bytes) {
  const auto header = wire::read_header(bytes);
  Bytes raw = send(bytes);
  const auto* row = header ? table_.find(header->code) : nullptr;
  if (row == nullptr) return {wire::read_header(raw)->code, 0, {}};
  const auto response = wire::Response::parse(std::move(raw), *row, header->tag == wire::kTagSessions);
  if (!response) fail("a malformed response", bytes, 0);
  const auto handle = response->handle();
  return {response->code(), handle ? handle->value : 0, wire::to_bytes(response->parameters())};
}

Answer World::demand(ByteView bytes) {
  auto answer = ask(bytes);
  if (answer.code != 0) fail("a refusal", bytes, answer.code);
  return answer;
}

// --- building

Bytes World::digest_of_policy(wire::CommandCode code) {
  const auto session = demand(start_session(SessionType::kTrial)).handle;
  (void)demand(policy_command_code(session, code));
  const auto digest = demand(policy_get_digest(session)).parameters;
  (void)demand(flush_context(session));
  return Bytes(digest.begin() + 2, digest.end());
}

void World::make_policies() {
  for (const auto code : {cc::kDuplicate, cc::kNVUndefineSpaceSpecial, cc::kNVChangeAuth})
    material_.policies.emplace(code, digest_of_policy(code));
}

// Loaded at 80000000, saved, made persistent, and gone again.
void World::make_key(Who who) {
  const auto persistent = handle({who, true});
  const bool child = std::find(std::begin(kChildren), std::end(kChildren), who) != std::end(kChildren);
  const Bytes area = public_of(who, material_);
  std::uint32_t key = 0;
  if (child) {
    const Bytes data(who == Who::kSealed ? 16 : 0, 0x5E);
    const auto parent = handle({Who::kStorage, true});
    const auto made = demand(create(parent, area, data));
    Reader in(made.parameters);
    Bytes blob = tpm2b_at(in);
    const Bytes public_part = tpm2b_at(in);
    if (who == Who::kDuplicable) material_.duplicate_public = public_part;
    blob.insert(blob.end(), public_part.begin(), public_part.end());
    if (who == Who::kSealed) material_.child = blob;
    key = demand(support::load(parent, blob)).handle;
  } else {
    const auto made = demand(create_primary(kOwner, area));
    key = made.handle;
    if (who == Who::kSigner) {
      Reader in(made.parameters);
      material_.signer_public = tpm2b_at(in);
      (void)tpm2b_at(in);
      material_.creation_hash = tpm2b_at(in);
      const auto ticket = in.take(6);
      material_.creation_ticket = Writer().raw(*ticket).raw(tpm2b_at(in)).take();
      material_.signer_name = tpm2b_at(in);
    }
  }
  contexts_[who] = demand(context_save(key)).parameters;
  (void)demand(evict_control(key, persistent));
  (void)demand(flush_context(key));
}

void World::make_keys() {
  for (const auto who : kPrimaries) make_key(who);
  for (const auto who : kChildren) make_key(who);
}

void World::make_sequences() {
  const auto keep = [&](Who who, const Bytes& start) {
    const auto sequence = demand(start).handle;
    contexts_[who] = demand(context_save(sequence)).parameters;
    (void)demand(flush_context(sequence));
  };
  keep(Who::kHashSequence, hash_start());
  keep(Who::kEventSequence, command(cc::kHashSequenceStart, {}, {}, Writer().u16(0).u16(kAlgNull).take()));
  keep(Who::kMacSequence,
       command(cc::kHMACStart, {handle({Who::kMac, true})}, password(), Writer().u16(0).u16(kSha256).take()));
}

// TPMA_NV, Part 2, 13.4.
void World::make_nv() {
  constexpr std::uint32_t kPpWrite = 1, kOwnerWrite = 2, kAuthWrite = 4, kPolicyDelete = 1U << 10,
                          kWriteStClear = 1U << 14, kPpRead = 1U << 16, kOwnerRead = 1U << 17, kAuthRead = 1U << 18,
                          kNoDa = 1U << 25, kPlatformCreate = 1U << 30, kReadStClear = 1U << 31;
  constexpr std::uint32_t kOurs = kOwnerWrite | kAuthWrite | kOwnerRead | kAuthRead | kNoDa;
  const auto define = [&](Who who, std::uint32_t by, std::uint32_t attributes, ByteView policy, std::uint16_t size) {
    (void)demand(command(cc::kNVDefineSpace, {by}, password(),
                         Writer().u16(0).raw(nv_public(handle({who}), attributes, policy, size)).take()));
  };
  define(Who::kNvPlain, kOwner, kOurs, {}, 8);
  define(Who::kNvCounter, kOwner, kOurs | 1U << 4, {}, 8);
  define(Who::kNvBits, kOwner, kOurs | 2U << 4, {}, 8);
  define(Who::kNvExtend, kOwner, kOurs | 4U << 4, {}, 32);
  define(Who::kNvLock, kOwner, kOurs | kWriteStClear | kReadStClear, {}, 8);
  define(Who::kNvPolicy, kOwner, kOurs, {}, 34);
  define(Who::kNvSpecial, kPlatform, kPpWrite | kPpRead | kPolicyDelete | kNoDa | kPlatformCreate,
         material_.policies.at(cc::kNVUndefineSpaceSpecial), 8);
  define(Who::kNvChangeable, kOwner, kOurs, material_.policies.at(cc::kNVChangeAuth), 8);
  const auto write = [&](Who who, ByteView data) {
    (void)demand(command(cc::kNVWrite, {kOwner, handle({who})}, password(), Writer().tpm2b(data).u16(0).take()));
  };
  write(Who::kNvPlain, Bytes(8, 1));
  write(Who::kNvLock, Bytes(8, 1));
  write(Who::kNvPolicy, Writer().u16(kSha256).raw(Bytes(32)).take());
  (void)demand(command(cc::kNVIncrement, {kOwner, handle({Who::kNvCounter})}, password(), {}));
}

void World::make_duplicate() {
  arrange({{Who::kDuplicable}, {Who::kStorage}});
  permit(cc::kDuplicate);
  const auto out = demand(command(cc::kDuplicate, {handle({Who::kDuplicable}), handle({Who::kStorage})},
                                  authorization(kPolicySessionHandle), Writer().u16(0).u16(kAlgNull).take()));
  Reader in(out.parameters);
  (void)tpm2b_at(in);
  material_.duplicate_private = tpm2b_at(in);
  material_.duplicate_seed = tpm2b_at(in);
  const auto read = demand(read_public(handle({Who::kDuplicable})));
  Reader names(read.parameters);
  (void)tpm2b_at(names);
  material_.duplicate_name = tpm2b_at(names);
}

void World::make_signatures() {
  const auto signer = handle({Who::kSigner, true});
  const auto signature_over = [&](ByteView digest) {
    return demand(command(cc::kSign, {signer}, password(),
                          Writer().tpm2b(digest).u16(kEcdsa).u16(kSha256).u16(0x8024).u32(kNull).u16(0).take()))
        .parameters;
  };
  const Bytes digest(32, 0x5A);
  material_.digest = two_byte(digest);
  material_.signature = signature_over(digest);
  // PolicyAuthorize: H(approvedPolicy || policyRef), both as they are in a fresh session.
  const Bytes approved = sha256(Bytes(32));
  material_.approval =
      demand(command(cc::kVerifySignature, {signer}, {}, Writer().tpm2b(approved).raw(signature_over(approved)).take()))
          .parameters;
  // PolicySigned: H(nonceTPM || expiration || cpHashA || policyRef).
  material_.policy_signature = signature_over(sha256(Bytes(4)));
}

void World::make_policy_ticket() {
  constexpr std::uint32_t kExpiration = 0xFFFFFF00;  // negative: a ticket is wanted
  const auto signer = handle({Who::kSigner, true});
  const auto signature = demand(command(cc::kSign, {signer}, password(),
                                        Writer()
                                            .tpm2b(sha256(Writer().u32(kExpiration).take()))
                                            .u16(kEcdsa)
                                            .u16(kSha256)
                                            .u16(0x8024)
                                            .u32(kNull)
                                            .u16(0)
                                            .take()))
                             .parameters;
  arrange({});
  const auto out = demand(command(cc::kPolicySigned, {signer, kPolicySessionHandle}, {},
                                  Writer().u16(0).u16(0).u16(0).u32(kExpiration).raw(signature).take()));
  Reader in(out.parameters);
  const Bytes timeout = tpm2b_at(in);
  material_.policy_ticket = Writer().raw(timeout).u16(0).u16(0).raw(material_.signer_name).raw(in.rest()).take();
}

void World::make_material() {
  make_duplicate();
  make_signatures();
  make_policy_ticket();
  const auto storage = handle({Who::kStorage, true});
  const Bytes secret(16, 0x3C);
  material_.credential =
      demand(command(cc::kMakeCredential, {storage}, {}, Writer().tpm2b(secret).raw(material_.signer_name).take()))
          .parameters;
  const auto points = demand(command(cc::kECDHKeyGen, {handle({Who::kDh, true})}, {}, {})).parameters;
  Reader in(points);
  (void)tpm2b_at(in);
  material_.point = tpm2b_at(in);
  material_.rsa_cipher = demand(command(cc::kRSAEncrypt, {handle({Who::kRsa, true})}, {},
                                        Writer().tpm2b(secret).u16(kOaep).u16(kSha256).u16(0).take()))
                             .parameters;
}

// --- the stage

std::uint32_t World::handle(Party party) const {
  constexpr std::uint32_t kPermanent[] = {kOwner, kEndorsement, kPlatform, kLockout, kNull};
  if (party.who <= Who::kNull) return kPermanent[static_cast<std::size_t>(party.who)];
  if (party.who == Who::kPcr) return 16;
  if (party.who == Who::kHmacSession) return kHmacSessionHandle;
  if (party.who == Who::kPolicySession) return kPolicySessionHandle;
  if (party.who >= Who::kNvPlain) return kFirstNv + offset(party.who, Who::kNvPlain);
  if (party.persistent) return kFirstPersistent + offset(party.who, Who::kStorage);
  return on_stage_.at(party.who);
}

std::uint32_t World::load(ByteView context) {
  return demand(context_load(context)).handle;
}

void World::clear_stage() {
  on_stage_.clear();
  for (const std::uint32_t range : {0x80000000U, 0x02000000U, 0x03000000U}) {
    const auto list = demand(get_capability(1, range, 64)).parameters;
    Reader in(list);
    (void)in.take(5);
    const auto count = in.u32().value_or(0);
    for (std::uint32_t i = 0; i < count; ++i) (void)demand(flush_context(in.u32().value_or(0)));
  }
}

void World::arrange(const std::vector<Party>& cast, unsigned dummies) {
  clear_stage();
  for (const auto party : cast)
    if (takes_a_slot(party) && on_stage_.count(party.who) == 0) on_stage_[party.who] = load(contexts_.at(party.who));
  for (unsigned i = 0; i < dummies; ++i) (void)load(contexts_.at(Who::kSigner));
  const auto hmac = demand(start_session_with_cipher(SessionType::kHmac));
  Reader nonce(hmac.parameters);
  session_nonce_ = wire::to_bytes(*nonce.tpm2b());
  (void)demand(start_session_with_cipher(SessionType::kPolicy));
  stage_as_arranged_ = survey_stage();
}

void World::lose_power() {
  if (const auto on = tpm_->power_cycle(); !on) throw std::runtime_error(on.error());
  on_stage_.clear();
}

// Objects and sessions, loaded and saved.
Bytes World::survey_stage() {
  Writer out;
  for (const std::uint32_t range : {0x80000000U, 0x02000000U, 0x03000000U})
    out.raw(demand(get_capability(1, range, 64)).parameters);
  return out.take();
}

// Persistent objects, NV indices; TPM_PT_PERMANENT and TPM_PT_STARTUP_CLEAR.
Bytes World::survey_house() {
  Writer out;
  for (const std::uint32_t range : {0x81000000U, 0x01000000U}) out.raw(demand(get_capability(1, range, 64)).parameters);
  return out.raw(demand(get_capability(6, 0x200, 2)).parameters).take();
}

bool World::stage_is_intact() {
  return survey_stage() == stage_as_arranged_;
}
bool World::house_is_intact() {
  return survey_house() == house_as_built_;
}

void World::permit(wire::CommandCode code) {
  (void)demand(policy_restart(kPolicySessionHandle));
  (void)demand(policy_command_code(kPolicySessionHandle, code));
}

// GetRandom with the HMAC session as audit session. Its key is empty, so the HMAC is over public values only
// (Part 1, 19.6).
void World::audit() {
  constexpr std::uint8_t kAttributes = 0x81;  // audit, continueSession
  const Bytes nonce(16, 0x22);
  const Bytes parameters = Writer().u16(8).take();
  const Bytes hashed = sha256(Writer().u32(cc::kGetRandom).raw(parameters).take());
  const Bytes text = Writer().raw(hashed).raw(nonce).raw(session_nonce_).u8(kAttributes).take();
  Bytes hmac(32);
  unsigned size = 0;
  const std::uint8_t no_key = 0;
  HMAC(EVP_sha256(), &no_key, 0, text.data(), text.size(), hmac.data(), &size);
  const Bytes area = Writer().u32(kHmacSessionHandle).tpm2b(nonce).u8(kAttributes).tpm2b(hmac).take();
  (void)demand(command(cc::kGetRandom, {}, area, parameters));
}

}  // namespace tpmspace::differential
