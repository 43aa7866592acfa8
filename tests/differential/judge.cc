#include "judge.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "wire/handle.h"

namespace tpmspace::differential {

using wire::Rc;
using wire::Reader;
using wire::Writer;
namespace cc = wire::cc;
namespace rc = wire::rc;
namespace attribute = wire::session_attribute;

namespace {

constexpr Rc kExclusive = 0x121, kNonce = 0x08F, kSymmetric = 0x096;

// --- the subject of a format-one code

bool is_format_one(Rc code) {
  return (code & 0x080) != 0;
}
bool in_parameter(Rc code) {
  return is_format_one(code) && (code & 0x040) != 0;
}
// Numbered from 1; 0: not of a session (handle).
unsigned session_in(Rc code) {
  return is_format_one(code) && !in_parameter(code) && (code & 0x800) != 0 ? (code >> 8 & 7) : 0;
}
unsigned handle_in(Rc code) {
  return is_format_one(code) && !in_parameter(code) && (code & 0x800) == 0 ? (code >> 8 & 7) : 0;
}
bool given_before_handles(Rc code) {
  return code == rc::kValue || code == rc::kBadTagTpm12 || code == rc::kCommandSize || code == rc::kCommandCode;
}

// --- the command, read leniently

struct Outline {
  const wire::CommandRow* row = nullptr;
  std::vector<std::uint32_t> handles;  // as many as there are
  struct Authorization {
    std::uint32_t handle = 0;
    std::size_t nonce_size = 0;
    std::uint8_t attributes = 0;
    bool complete = false;  // the form is right to the end
  };
  std::vector<Authorization> authorizations;  // up to the first whose form is wrong, that one included
};

void outline_authorizations(Reader in, Outline& out) {
  const auto size = in.u32();
  if (!size) return;
  Reader area(in.rest().first(std::min<std::size_t>(*size, in.remaining())));
  while (!area.empty()) {
    Outline::Authorization one;
    const auto handle = area.u32();
    if (!handle) return;
    one.handle = *handle;
    const auto nonce = area.tpm2b();
    const auto attributes = area.u8();
    const auto hmac = area.tpm2b();
    one.nonce_size = nonce ? nonce->size() : 0;
    one.attributes = attributes.value_or(0);
    one.complete = nonce && attributes && hmac;
    out.authorizations.push_back(one);
    if (!one.complete) return;
  }
}

// Precondition: the code is in the table.
Outline outline(ByteView command, const wire::CommandTable& table) {
  Outline out;
  const auto header = wire::read_header(command);
  out.row = table.find(header->code);
  Reader in(command.subspan(wire::kHeaderSize));
  for (unsigned i = 0; i < out.row->handles; ++i) {
    const auto handle = in.u32();
    if (!handle) return out;
    out.handles.push_back(*handle);
  }
  if (header->tag == wire::kTagSessions) outline_authorizations(in, out);
  return out;
}

// --- faults that come before the parser's

// A handle that is as it was in the seed, of the same command, is good: no fault is excused.
bool may_be_faulty(const Outline& command, const Outline& seed, std::size_t index) {
  return command.row != seed.row || index >= seed.handles.size() || command.handles[index] != seed.handles[index];
}

// `refusal` is "handle N is not there": then libtpms has looked at the types of those before, at no entity.
bool is_fault_of_handle(Rc answer, Rc refusal, const Outline& command, const Outline& seed) {
  if (answer == rc::kObjectMemory)  // a persistent object takes a slot while it is used
    return handle_in(refusal) == 0 && std::any_of(command.handles.begin(), command.handles.end(), wire::is_persistent);
  const bool unknown = answer >= rc::kReferenceH0 && answer < rc::kReferenceH0 + 7;
  const std::size_t number = unknown ? answer - rc::kReferenceH0 + 1 : handle_in(answer);
  if (number == 0 || number > command.handles.size() || !may_be_faulty(command, seed, number - 1)) return false;
  if (handle_in(refusal) != 0) return wire::base_code(answer) == rc::kValue && number < handle_in(refusal);
  constexpr Rc kFaults[] = {rc::kValue, rc::kHandle, rc::kHierarchy};
  return unknown || std::count(std::begin(kFaults), std::end(kFaults), wire::base_code(answer)) != 0;
}

// libtpms' objection to an authorization of a correct form; empty: none.
std::set<Rc> faults_of_authorization(const Outline& command, std::size_t index) {
  constexpr std::uint32_t kNumbers = 64, kLoaded = 2;
  const auto& one = command.authorizations[index];
  const auto number = static_cast<unsigned>(index + 1);
  std::set<Rc> out;
  if (one.handle == wire::kPasswordSession) {
    if ((one.attributes & ~attribute::kContinue) != 0) out.insert(rc::in_session(rc::kAttributes, number));
    if (one.nonce_size != 0) out.insert(rc::in_session(kNonce, number));
    return out;
  }
  if (!wire::is_session(one.handle)) return out;
  const std::uint32_t session = wire::number_of(one.handle);
  if (session >= kNumbers) return {rc::in_session(rc::kValue, number)};
  if (session >= kLoaded) return {rc::kReferenceS0 + number - 1};
  const bool policy = wire::kind_of(one.handle) == wire::HandleKind::kPolicySession;
  if (policy != (session == 1)) return {rc::in_session(rc::kHandle, number)};
  for (std::size_t i = 0; i < index; ++i)
    if (command.authorizations[i].handle == one.handle) return {rc::in_session(rc::kHandle, number)};
  if ((one.attributes & (attribute::kDecrypt | attribute::kEncrypt | attribute::kAudit)) != 0)
    out.insert({rc::in_session(rc::kAttributes, number), rc::in_session(kSymmetric, number), kExclusive});
  return out;
}

// Every authorization is well-formed: then a refusal that names a session is about the parameter it decrypts, and
// libtpms has looked at everything before that, the values of all authorizations included.
bool is_of_encrypted_parameter(Rc refusal, const Outline& command) {
  const unsigned session = session_in(refusal);
  const bool whole = std::all_of(command.authorizations.begin(), command.authorizations.end(),
                                 [](const auto& one) { return one.complete; });
  return session != 0 && session <= command.authorizations.size() && whole &&
         (command.authorizations[session - 1].attributes & attribute::kDecrypt) != 0;
}
bool is_fault_before_decryption(Rc answer, const Outline& command) {
  constexpr Rc kPolicyFail = 0x09D, kExpired = 0x0A3, kPolicyCc = 0x0A4, kAuthType = 0x124, kAuthUnavailable = 0x12F,
               kPolicyDenied = 0x126;
  for (const Rc code : {kAuthType, kAuthUnavailable, kPolicyDenied, rc::kPcrChanged, rc::kLockout, rc::kLocality})
    if (answer == code) return true;
  for (std::size_t i = 0; i < command.authorizations.size(); ++i) {
    if (faults_of_authorization(command, i).count(answer) != 0) return true;
    for (const Rc code : {rc::kAuthFail, rc::kBadAuth, kPolicyFail, kExpired, kPolicyCc, rc::kAttributes, kSymmetric})
      if (answer == rc::in_session(code, static_cast<unsigned>(i + 1))) return true;
  }
  return false;
}

// `refusal` is the form of authorization N, or AUTH_MISSING: those before N were looked at whole, and of N itself the
// session's number, which comes first in it.
bool is_fault_of_authorization(Rc answer, Rc refusal, const Outline& command) {
  if (session_in(refusal) == 0 && refusal != rc::kAuthMissing) return false;
  const std::size_t whole = refusal == rc::kAuthMissing ? command.authorizations.size() : session_in(refusal) - 1;
  for (std::size_t i = 0; i < std::min(whole, command.authorizations.size()); ++i)
    if (faults_of_authorization(command, i).count(answer) != 0) return true;
  return session_in(refusal) != 0 && whole < command.authorizations.size() &&
         answer == rc::in_session(rc::kValue, static_cast<unsigned>(whole + 1)) &&
         faults_of_authorization(command, whole).count(answer) != 0;
}

Agreement judge_refusal(const Case& one, const wire::CommandTable& table) {
  const Rc refusal = one.parsed.error();
  if (one.answer == refusal) return Agreement::kSameCode;
  if (given_before_handles(refusal) || one.command.size() < wire::kHeaderSize) return Agreement::kDisagreement;
  const Outline command = outline(one.command, table), seed = outline(one.seed, table);
  // A started TPM answers every Startup in this way, with any parameters.
  if (one.answer == rc::kInitialize && command.row->code == cc::kStartup) return Agreement::kEarlier;
  if (is_of_encrypted_parameter(refusal, command) && is_fault_before_decryption(one.answer, command))
    return Agreement::kEarlier;
  const bool excused =
      is_fault_of_handle(one.answer, refusal, command, seed) || is_fault_of_authorization(one.answer, refusal, command);
  return excused ? Agreement::kEarlier : Agreement::kDisagreement;
}

// --- accepted

// Commands whose actions give a code of the command's form: for the session's state, or a PCR without authorization
// (libtpms's EACommands.c, IntegrityCommands.c).
bool said_by_the_action(Rc answer, wire::CommandCode code) {
  if (answer == rc::kCommandCode) return code == cc::kPolicyDuplicationSelect;
  return answer == rc::kValue && (code == cc::kPCRSetAuthValue || code == cc::kPolicyAuthorizeNV);
}

bool only_the_parser_says(Rc answer, const wire::Command& command) {
  switch (answer) {
    case rc::kBadTagTpm12:
    case rc::kValue:
    case rc::kCommandSize:
    case rc::kCommandCode:
    case rc::kAuthContext:
    case rc::kAuthMissing:
    case rc::kInsufficient:
      return !said_by_the_action(answer, command.code());
    default:
      break;
  }
  const Rc base = wire::base_code(answer);
  if (handle_in(answer) != 0) return base == rc::kInsufficient;
  const unsigned number = session_in(answer);
  if (number == 0) return false;
  if (number > command.authorizations().size()) return true;
  const auto& of = command.authorizations()[number - 1];
  if (base == rc::kInsufficient || base == rc::kReservedBits) return true;
  if (base == rc::kSize) return true;
  if (base == rc::kValue) return !wire::is_session(of.handle.value) || wire::number_of(of.handle.value) < 64;
  return false;
}

}  // namespace

Agreement judge(const Case& one, const wire::CommandTable& table) {
  if (!one.parsed) return judge_refusal(one, table);
  return only_the_parser_says(one.answer, *one.parsed) ? Agreement::kDisagreement : Agreement::kAccepted;
}

std::string inconsistency(const wire::Command& parsed, ByteView command) {
  Writer again;
  const auto size = static_cast<std::uint32_t>(command.size());
  again.u16(parsed.has_sessions() ? wire::kTagSessions : wire::kTagNoSessions).u32(size).u32(parsed.code());
  for (std::size_t i = 0; i < parsed.handle_count(); ++i) {
    if (again.bytes().size() != wire::Command::handle_at(i)) return "a handle is not where it is said to be";
    again.u32(parsed.handle(i).value);
  }
  if (parsed.has_sessions()) {
    const std::size_t begin = again.bytes().size() + 4;
    if (parsed.parameters_at() < begin) return "the parameters begin in the authorizations";
    again.u32(static_cast<std::uint32_t>(parsed.parameters_at() - begin));
  } else if (!parsed.authorizations().empty()) {
    return "authorizations without a session tag";
  }
  for (const auto& one : parsed.authorizations()) {
    if (again.bytes().size() != one.at) return "an authorization is not where it is said to be";
    again.u32(one.handle.value).tpm2b(command.subspan(one.nonce_at, one.nonce_size));
    again.u8(one.attributes).tpm2b(command.subspan(one.hmac_at, one.hmac_size));
  }
  if (again.bytes().size() != parsed.parameters_at()) return "something lies between authorizations and parameters";
  again.raw(parsed.parameters());
  if (!wire::same_bytes(again.bytes(), command)) return "the parts do not make the whole";
  if (!wire::same_bytes(parsed.bytes(), command)) return "the bytes were changed";
  return {};
}

}  // namespace tpmspace::differential
