#include "tpm/known_crashes.h"

#include <algorithm>
#include <array>

#include "tpm/algorithm_ids.h"
#include "wire/handle.h"

namespace tpmspace::tpm {
namespace {

using wire::ByteView;
using wire::Command;
using wire::Reader;
namespace cc = wire::cc;
namespace rc = wire::rc;

constexpr std::uint32_t kNullHandle = static_cast<std::uint32_t>(wire::Hierarchy::kNull);
constexpr wire::Rc kKey = 0x09C, kAuthUnavailable = 0x12F;

bool signs_without_key(const Command& command, Knowledge&) {
  return command.handle(1).value == kNullHandle;
}

// --- CertifyX509: the certificate

struct DerElement {
  std::uint8_t tag = 0;
  ByteView content;
};

// A definite length of at most two bytes.
std::optional<std::size_t> length_in(Reader& in) {
  constexpr std::uint8_t kLong = 0x80, kOneByte = 0x81, kTwoBytes = 0x82;
  const auto first = in.u8();
  if (!first) return std::nullopt;
  if (*first < kLong) return *first;
  if (*first == kOneByte) return in.u8();
  if (*first == kTwoBytes) return in.u16();
  return std::nullopt;
}

std::optional<DerElement> next_element(Reader& in) {
  constexpr std::uint8_t kLongTag = 0x1F;
  const auto tag = in.u8();
  if (!tag || (*tag & kLongTag) == kLongTag) return std::nullopt;
  const auto length = length_in(in);
  if (!length) return std::nullopt;
  const auto content = in.take(*length);
  return content ? std::optional(DerElement{*tag, *content}) : std::nullopt;
}

// Issuer, validity, subject and perhaps a signature algorithm: a SEQUENCE each, within one outer SEQUENCE.
bool has_too_many_sequences(ByteView certificate) {
  constexpr std::uint8_t kSequence = 0x30;
  constexpr int kMostSequences = 4;
  Reader outer(certificate);
  const auto whole = next_element(outer);
  if (!whole || whole->tag != kSequence || !outer.empty()) return true;
  int sequences = 0;
  for (Reader in(whole->content); !in.empty();) {
    const auto element = next_element(in);
    if (!element) return true;
    if (element->tag == kSequence && ++sequences > kMostSequences) return true;
  }
  return false;
}

// Moves `in` past a TPMT_SIG_SCHEME; returns the scheme, TPM_ALG_NULL for none; nullopt: truncated.
std::optional<std::uint16_t> scheme(Reader& in) {
  const auto out = in.u16();
  if (!out || *out == kAlgNull) return out;
  if (!in.u16()) return std::nullopt;                       // hash
  if (*out == kAlgEcdaa && !in.u16()) return std::nullopt;  // counter
  return out;
}

// Skips `count` TPM2Bs. False: one is truncated.
bool skip(Reader& in, unsigned count) {
  for (unsigned i = 0; i < count; ++i)
    if (!in.tpm2b()) return false;
  return true;
}

bool has_bad_certificate(const Command& command, Knowledge&) {
  Reader in(command.parameters());
  if (!skip(in, 1) || !scheme(in)) return false;  // the TPM refuses the command before the certificate is read
  const auto certificate = in.tpm2b();
  return certificate && has_too_many_sequences(*certificate);
}

// --- the others

// The index of the signing handle, for a command with a scheme in its row.
std::size_t signing_handle(wire::CommandCode code) {
  switch (code) {
    case cc::kCertify:
    case cc::kCertifyX509:
    case cc::kGetTime:
    case cc::kGetSessionAuditDigest:
    case cc::kGetCommandAuditDigest:
      return 1;
    default:
      return 0;
  }
}

// Whether an HMAC key is to sign with the scheme of an asymmetric key.
bool signs_with_scheme_of_other_key(const Command& command, Knowledge& knowledge) {
  Reader in(command.parameters());
  if (!skip(in, command.row().names.after)) return false;
  const auto wanted = scheme(in);
  if (!wanted || *wanted == kAlgNull || *wanted == kAlgHmac) return false;
  return knowledge.type_of(command.handle(signing_handle(command.code())).value) == kAlgKeyedHash;
}

// The Name begins with its hash algorithm, two bytes.
bool has_name_without_algorithm(const Command& command, Knowledge&) {
  Reader in(command.parameters());
  if (!skip(in, 2)) return false;  // approvedPolicy, policyRef
  const auto name = in.tpm2b();
  return name && name->size() < 2;
}

bool first_parameter_exceeds_command(const Command& command, Knowledge&) {
  Reader in(command.parameters());
  const auto size = in.u16();
  return size && *size > in.remaining();
}

// For a bound session, the TPM checks whether the session is bound to the authorized object; the check reads the
// object's authorization value, which a public-only object lacks.
bool authorizes_public_key_by_bound_session(const Command& command, Knowledge& knowledge) {
  const auto& authorizations = command.authorizations();
  for (std::size_t i = 0; i < command.row().auth_handles && i < authorizations.size(); ++i) {
    const std::uint32_t session = authorizations[i].handle.value, handle = command.handle(i).value;
    if (wire::kind_of(session) == wire::HandleKind::kHmacSession && wire::is_transient(handle) &&
        knowledge.is_bound(session) && knowledge.is_public_only(handle))
      return true;
  }
  return false;
}

bool always(const Command&, Knowledge&) {
  return true;
}

std::vector<KnownCrash> make_table() {
  return {
      {"CertifyX509 without a signing key", {cc::kCertifyX509}, signs_without_key, rc::in_handle(kKey, 2)},
      {"CertifyX509 with a fifth sequence", {cc::kCertifyX509}, has_bad_certificate, rc::in_parameter(rc::kValue, 3)},
      {"HMAC key that signs with a scheme of another key",
       {cc::kSign, cc::kCertify, cc::kCertifyCreation, cc::kQuote, cc::kGetTime, cc::kGetSessionAuditDigest,
        cc::kGetCommandAuditDigest, cc::kNVCertify, cc::kCertifyX509},
       signs_with_scheme_of_other_key,
       rc::in_parameter(rc::kScheme, 2)},
      {"PolicyAuthorize with a Name of less than two bytes",
       {cc::kPolicyAuthorize},
       has_name_without_algorithm,
       rc::in_parameter(rc::kSize, 3)},
      {"Create with a first parameter that is longer than the command",
       {cc::kCreate, cc::kCreatePrimary, cc::kCreateLoaded},
       first_parameter_exceeds_command,
       rc::in_parameter(rc::kInsufficient, 1)},
      {"Public key that a bound session authorizes", {}, authorizes_public_key_by_bound_session, kAuthUnavailable},
      {"NV_Extend on an ST33TPHF2E",
       {cc::kNVExtend},
       always,
       rc::kCommandCode,
       {{"STM", 0x00490004}, {"STM", 0x00490014}}},
  };
}

}  // namespace

std::span<const KnownCrash> known_crashes() {
  static const std::vector<KnownCrash> table = make_table();
  return table;
}

bool is_about(const KnownCrash& row, const wire::CommandRow& command) {
  if (row.commands.empty()) return command.auth_handles > 0;
  return std::count(row.commands.begin(), row.commands.end(), command.code) != 0;
}

}  // namespace tpmspace::tpm
