// Starting sessions, and policy. Source: TPM 2.0 library, Part 3, 11 and 23.
#include <algorithm>

#include "codes.h"
#include "digest.h"
#include "model_state.h"

namespace tpmspace::simulation::commands {
namespace {

using wire::Bytes;
using wire::Rc;

constexpr std::size_t kSmallestNonce = 16;

struct StartInput {
  Bytes nonce, salt;
  std::uint8_t type = 0;
  std::uint16_t hash = 0;
};

StartInput take_start(Parameters& in) {
  StartInput out;
  out.nonce = in.tpm2b();
  in.next();
  out.salt = in.tpm2b();
  in.next();
  out.type = in.u8();
  if (out.type != 0 && out.type != 1 && out.type != 3) in.fail(wire::rc::kValue);
  in.next();
  if (in.u16() != alg::kNull) in.fail(codes::kSymmetric);  // the model's sessions do not encrypt
  in.next();
  out.hash = in.u16();
  if (out.hash != alg::kSha256) in.fail(codes::kHash);
  return out;
}

Rc check_keys(Call& call, const StartInput& input) {
  if (call.handles[0] != kRhNull) {
    const Object& key = call.object(0);
    if (key.is_sequence() || !key.area.is_asymmetric()) return codes::at_handle(codes::kKey, 0);
    if (input.salt.empty()) return wire::rc::in_parameter(wire::rc::kValue, 2);
    if (key.public_only) return codes::at_handle(wire::rc::kHandle, 0);
    if (!key.area.has(object_attribute::kDecrypt)) return codes::at_handle(wire::rc::kAttributes, 0);
    return wire::rc::in_parameter(wire::rc::kValue, 2);  // no salt of ours was ever encrypted to a key
  }
  if (!input.salt.empty()) return wire::rc::in_parameter(wire::rc::kValue, 2);
  const Object* bind = call.object_or_null(1);
  return bind != nullptr && bind->public_only ? codes::at_handle(wire::rc::kHandle, 1) : wire::rc::kSuccess;
}

void extend_policy(Session& session, std::initializer_list<std::uint32_t> words) {
  wire::Writer data;
  data.raw(session.policy_digest);
  for (const auto word : words) data.u32(word);
  session.policy_digest = sha256({data.bytes()});
}

}  // namespace

Rc start_auth_session(Call& call) {
  const StartInput input = take_start(call.in);
  if (const Rc code = call.in.end(); code != 0) return code;
  if (input.nonce.size() < kSmallestNonce || input.nonce.size() > kDigestSize)
    return wire::rc::in_parameter(wire::rc::kSize, 1);
  if (const Rc code = check_keys(call, input); code != 0) return code;
  Session session;
  session.type = static_cast<SessionType>(input.type);
  session.nonce_size = static_cast<std::uint16_t>(input.nonce.size());
  session.keyed = call.handles[1] != kRhNull;
  const Object* bind = wire::is_transient(call.handles[1]) ? call.object_or_null(1) : nullptr;
  session.bound_to_protected = bind != nullptr && bind->is_protected();
  session.policy_digest.assign(session.is_policy() ? kDigestSize : 0, 0);
  const auto number = call.tpm.sessions.create(session);
  if (!number) return number.error();
  call.response_handle = session_handle(*number, session);
  call.out.tpm2b(call.tpm.random_bytes(session.nonce_size));
  return wire::rc::kSuccess;
}

Rc policy_command_code(Call& call) {
  const std::uint32_t code = call.in.u32();
  if (const Rc end = call.in.end(); end != 0) return end;
  Session& session = call.session(0);
  if (session.command_code != 0 && session.command_code != code) return wire::rc::in_parameter(wire::rc::kValue, 1);
  if (wire::CommandTable::builtin().find(code) == nullptr) return wire::rc::in_parameter(codes::kPolicyCc, 1);
  extend_policy(session, {wire::cc::kPolicyCommandCode, code});
  session.command_code = code;
  return wire::rc::kSuccess;
}

Rc policy_password(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  Session& session = call.session(0);
  extend_policy(session, {wire::cc::kPolicyAuthValue});
  session.password_needed = true;
  session.auth_value_needed = false;
  return wire::rc::kSuccess;
}

Rc policy_auth_value(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  Session& session = call.session(0);
  extend_policy(session, {wire::cc::kPolicyAuthValue});
  session.password_needed = false;
  session.auth_value_needed = true;
  return wire::rc::kSuccess;
}

Rc policy_pcr(Call& call) {
  const Bytes expected = call.in.tpm2b();
  call.in.next();
  const PcrSelection selection = take_selection(call.in);
  if (const Rc code = call.in.end(); code != 0) return code;
  const ChipState& chip = *call.tpm.chip;
  Session& session = call.session(0);
  wire::Writer values;
  for (const auto pcr : selection.pcrs) values.raw(pcr_value(chip, pcr));
  Bytes digest = sha256({values.bytes()});
  if (session.type == SessionType::kTrial) {
    if (!expected.empty()) digest = expected;
  } else {
    if (session.pcr_counter != 0 && session.pcr_counter != chip.pcr_counter) return wire::rc::kPcrChanged;
    if (!expected.empty() && expected != digest) return wire::rc::in_parameter(wire::rc::kValue, 1);
    session.pcr_counter = chip.pcr_counter;
  }
  session.policy_digest = sha256(
      {session.policy_digest, wire::Writer().u32(wire::cc::kPolicyPCR).raw(selection.marshalled).bytes(), digest});
  return wire::rc::kSuccess;
}

Rc policy_or(Call& call) {
  constexpr std::uint32_t kFewest = 2, kMost = 8;
  const std::uint32_t count = call.in.u32();
  if (count < kFewest || count > kMost) call.in.fail(wire::rc::kSize);
  std::vector<Bytes> branches;
  for (std::uint32_t i = 0; i < count && call.in.end() != wire::rc::kInsufficient && i < kMost; ++i)
    branches.push_back(call.in.tpm2b());
  if (const Rc code = call.in.end(); code != 0) return code;
  Session& session = call.session(0);
  const bool here = std::find(branches.begin(), branches.end(), session.policy_digest) != branches.end();
  if (!here && session.type != SessionType::kTrial) return wire::rc::in_parameter(wire::rc::kValue, 1);
  wire::Writer data;
  data.raw(Bytes(kDigestSize, 0)).u32(wire::cc::kPolicyOR);
  for (const auto& branch : branches) data.raw(branch);
  session.policy_digest = sha256({data.bytes()});
  return wire::rc::kSuccess;
}

Rc policy_nv_written(Call& call) {
  const std::uint8_t written = call.in.u8();
  if (written > 1) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;
  Session& session = call.session(0);
  if (session.nv_written && *session.nv_written != (written == 1)) return wire::rc::in_parameter(wire::rc::kValue, 1);
  session.nv_written = written == 1;
  session.policy_digest =
      sha256({session.policy_digest, wire::Writer().u32(wire::cc::kPolicyNvWritten).u8(written).bytes()});
  return wire::rc::kSuccess;
}

Rc policy_locality(Call& call) {
  constexpr std::uint8_t kFirstExtended = 32, kAll = 0x1F;
  const std::uint8_t asked = call.in.u8();
  if (const Rc code = call.in.end(); code != 0) return code;
  Session& session = call.session(0);
  const Rc out_of_range = wire::rc::in_parameter(codes::kRange, 1);
  if (asked == 0) return out_of_range;
  const bool extended = asked >= kFirstExtended;
  if (session.locality != 0 && extended != (session.locality >= kFirstExtended)) return out_of_range;
  if (extended && session.locality != 0 && session.locality != asked) return out_of_range;
  const auto before = session.locality == 0 ? kAll : session.locality;
  const auto after = static_cast<std::uint8_t>(extended ? asked : before & asked);
  if (after == 0) return out_of_range;
  session.locality = after;
  session.policy_digest =
      sha256({session.policy_digest, wire::Writer().u32(wire::cc::kPolicyLocality).u8(asked).bytes()});
  return wire::rc::kSuccess;
}

Rc policy_restart(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  call.session(0).reset_policy();
  return wire::rc::kSuccess;
}

Rc policy_get_digest(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  call.out.tpm2b(call.session(0).policy_digest);
  return wire::rc::kSuccess;
}

Rc policy_secret(Call& call) {
  constexpr std::uint16_t kTicketAuthSecret = 0x8023;
  const Bytes nonce = call.in.tpm2b();
  call.in.next();
  const Bytes cp_hash = call.in.tpm2b();
  call.in.next();
  const Bytes reference = call.in.tpm2b();
  call.in.next();
  const std::uint32_t expiration = call.in.u32();
  if (const Rc code = call.in.end(); code != 0) return code;
  // The model does not cover nonces, cpHashes and expirations.
  if (!nonce.empty()) return wire::rc::in_parameter(codes::kNonce, 1);
  if (!cp_hash.empty()) return wire::rc::in_parameter(wire::rc::kSize, 2);
  if (expiration != 0) return wire::rc::in_parameter(wire::rc::kValue, 4);
  Session& session = call.session(1);
  const Bytes with_name =
      sha256({session.policy_digest, wire::Writer().u32(wire::cc::kPolicySecret).bytes(), name_of(call, 0)});
  session.policy_digest = sha256({with_name, reference});
  call.out.u16(0).u16(kTicketAuthSecret).u32(kRhNull).u16(0);
  return wire::rc::kSuccess;
}

}  // namespace tpmspace::simulation::commands
