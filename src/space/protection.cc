#include "space/protection.h"

#include "books/context.h"
#include "books/view.h"

namespace tpmspace::space {

using wire::Authorization;
using wire::ClientHandle;
using wire::Command;
using wire::Rc;
namespace cc = wire::cc;
namespace rc = wire::rc;

namespace {

constexpr std::uint32_t kObjectNoDa = 1U << 10;  // TPMA_OBJECT
constexpr std::uint32_t kNvNoDa = 1U << 25;      // TPMA_NV

// In a command that only the chip knows, any handle may be authorized.
bool is_authorized(const wire::CommandRow& row, std::size_t handle) {
  return handle < row.auth_handles || (handle < row.handles && row.uses[handle] == wire::HandleUse::kUnknown);
}

}  // namespace

// The second TPM2B of each of these commands, which no session encrypts.
CountsMisses counts_misses_of_created(const Command& command) {
  if (command.row().creates == wire::Creates::kSequence) return CountsMisses::kNo;
  if (command.code() != cc::kCreatePrimary && command.code() != cc::kCreateLoaded && command.code() != cc::kLoad &&
      command.code() != cc::kLoadExternal)
    return CountsMisses::kUnknown;
  wire::Reader in(command.parameters());
  if (!in.tpm2b()) return CountsMisses::kUnknown;
  const auto area = in.tpm2b();
  const auto attributes = area ? attributes_in(*area, false) : std::nullopt;
  if (!attributes) return CountsMisses::kUnknown;
  return (*attributes & kObjectNoDa) != 0 ? CountsMisses::kNo : CountsMisses::kYes;
}

bool binds_to_what_counts(const Books& books, SpaceId space, const Command& start) {
  if (start.handle_count() < 2) return true;
  const std::uint32_t bind = start.handle(1).value;
  switch (wire::kind_of(bind)) {
    case wire::HandleKind::kPcr:
      return false;
    case wire::HandleKind::kPermanent:
      return bind == wire::kLockoutHandle;
    case wire::HandleKind::kTransient: {
      const auto& objects = space_of(books, space).objects;
      const auto object = objects.find(bind);
      return object == objects.end() || object->second.counts_misses != CountsMisses::kNo;
    }
    default:
      return true;
  }
}

bool Protection::may_count(SpaceId space, const Command& command) {
  const auto& authorizations = command.authorizations();
  for (std::size_t i = 0; i < authorizations.size(); ++i) {
    if (!authorizations[i].is_password()) {
      const Session* session = known_session(books_, space, authorizations[i].handle.value);
      if (session == nullptr || session->bound_to_what_counts) return true;
    }
    if (is_authorized(command.row(), i) && tries_auth_value(space, authorizations[i]) &&
        is_protected(space, command.handle(i)))
      return true;
  }
  return false;
}

// A policy session tries the authValue only if its policy demands so.
bool Protection::tries_auth_value(SpaceId space, const Authorization& authorization) {
  if (authorization.is_password()) return true;
  const Session* session = known_session(books_, space, authorization.handle.value);
  return session == nullptr || session->kind == SessionKind::kHmac || session->log.auth_value;
}

bool Protection::is_protected(SpaceId space, ClientHandle handle) {
  switch (wire::kind_of(handle.value)) {
    case wire::HandleKind::kPcr:
    case wire::HandleKind::kHmacSession:  // sessions have no authorization value, so the TPM checks none
    case wire::HandleKind::kPolicySession:
    case wire::HandleKind::kAttachedComponent:
      return false;
    case wire::HandleKind::kPermanent:
      return handle.value == wire::kLockoutHandle;
    case wire::HandleKind::kTransient:
      return object_counts(space, handle);
    default:
      return shared_entity_counts(space, handle);
  }
}

bool Protection::object_counts(SpaceId space, ClientHandle handle) {
  // Loading another object of the command may have shown that this one is gone; a missing entity cannot count.
  Object* object = find_object(books_, space, handle);
  if (object == nullptr || object->sequence) return false;
  if (object->counts_misses == CountsMisses::kUnknown) {
    (void)touch_object(books_, space, handle, port_.now());
    const Status loaded = residency_.load_object(space, handle);
    if (is_dead_context(loaded.code())) return false;
    const bool is_there = loaded.ok() || loaded.starts_over();
    const Slot* slot = is_there ? slot_of(books_, space, handle) : nullptr;
    if (slot == nullptr) return true;
    const auto attributes = port_.attributes_of(slot->tpm.value);
    if (!attributes) return !says_it_is_not_there(attributes.error());
    object = find_object(books_, space, handle);
    if (object == nullptr) return false;
    object->counts_misses = (*attributes & kObjectNoDa) != 0 ? CountsMisses::kNo : CountsMisses::kYes;
  }
  return object->counts_misses == CountsMisses::kYes;
}

bool Protection::shared_entity_counts(SpaceId space, ClientHandle handle) {
  const bool nv = wire::is_nv(handle.value);
  std::uint32_t at_tpm = handle.value;
  if (wire::is_persistent(handle.value)) {
    const auto persistent = persistent_at_tpm(space_of(books_, space).limits.view.get(), handle);
    if (!persistent) return false;  // a missing entity cannot count
    at_tpm = persistent->value;
  }
  if (!nv && residency_.make_object_room(1) != rc::kSuccess) return true;
  const auto attributes = port_.attributes_of(at_tpm);
  if (!attributes) return !says_it_is_not_there(attributes.error());
  return nv ? (*attributes & kNvNoDa) == 0 || is_pin_fail(*attributes) : (*attributes & kObjectNoDa) == 0;
}

// If a session is bound to lockoutAuth, the chip's counter stays, but the response does not show the binding: the
// result is then one count above the chip's.
Failure Protection::failure(SpaceId space, const Command& command, Rc code) {
  constexpr Rc kOfParameter = 0x040, kOfSession = 0x800;
  const Rc base = wire::base_code(code);
  if (wire::layer_of(code) != 0 || (base != rc::kAuthFail && base != rc::kBadAuth)) return Failure::kNone;
  if ((code & kOfParameter) != 0) return Failure::kNone;
  const bool counted = base == rc::kAuthFail;
  const std::size_t index = (code & kOfSession) != 0 ? (code >> 8 & 7) - 1U : command.authorizations().size();
  if (counted && chip_.has_other_users()) due_ = true;
  if (index >= command.authorizations().size() || !is_authorized(command.row(), index))
    return counted ? Failure::kCounted : Failure::kNone;
  const std::uint32_t handle = command.handle(index).value;
  pins_.doubt(handle);
  if (counted) return handle == wire::kLockoutHandle ? Failure::kBeside : Failure::kCounted;
  if (!wire::is_nv(handle) || !tries_auth_value(space, command.authorizations()[index])) return Failure::kNone;
  // An owner that is never stopped needs no query.
  if (!space_of(books_, space).limits.shares_tries) return Failure::kNone;
  return pins_.is_one(handle).value_or(false) ? Failure::kBeside : Failure::kNone;
}

// With a session bound to a PIN index, the client could guess values without a count.
TpmPort::Result<bool> Protection::tries_forbidden_pin(SpaceId space, const Command& command) {
  const wire::Numbers* allowed = space_of(books_, space).limits.pins.get();
  if (allowed == nullptr) return false;
  const auto& authorizations = command.authorizations();
  for (std::size_t i = 0; i < command.handle_count(); ++i) {
    const std::uint32_t handle = command.handle(i).value;
    if (!wire::is_nv(handle) || allowed->contains(handle)) continue;
    const bool is_tried =
        i < authorizations.size() && is_authorized(command.row(), i) && tries_auth_value(space, authorizations[i]);
    if (!is_tried && command.code() != cc::kStartAuthSession) continue;
    const auto pin = pins_.is_one(handle);
    if (!pin || *pin) return pin;
  }
  return false;
}

void Protection::about_to_send(const Command& command) {
  if (may_change_indices(command.row())) pins_.forget();
}

void Protection::book(const Command& command, const wire::Response& response) {
  LockoutNews& news = port_.cost().lockout;
  switch (command.code()) {
    case cc::kGetCapability:
      return learn_lockout(news, response.parameters());
    case cc::kDictionaryAttackParameters: {
      wire::Reader in(command.parameters());  // newMaxTries, newRecoveryTime, lockoutRecovery
      news.max_auth_fail = in.u32();
      news.lockout_interval = in.u32();
      return;
    }
    case cc::kClear:
      due_ = true;  // the parameters are the manufacturer's defaults again
      news.counter_was_reset = true;
      return;
    case cc::kDictionaryAttackLockReset:
      news.counter_was_reset = true;
      return;
    default:
      return;
  }
}

void Protection::read_if_due() {
  // The TPM may be another one.
  if (port_.cost().restarted != wire::Restarted::kNo || port_.cost().tpm_lost) pins_.forget();
  // Tries that were in progress at a power loss may have been counted (Part 1, 19.8.6).
  if (port_.cost().restarted != wire::Restarted::kNo) due_ = true;
  if (!due_ || port_.cost().tpm_lost) return;
  due_ = false;
  (void)port_.read_lockout();
}

}  // namespace tpmspace::space
