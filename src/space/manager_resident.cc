// Brings a command's entities into the TPM, and translates the command for the TPM.
#include <utility>

#include "space/manager.h"
#include "wire/rewrite.h"

namespace tpmspace::space {

using wire::Bytes;
using wire::ClientHandle;
using wire::Command;
using wire::Rc;
namespace rc = wire::rc;

Status as_lack_of_room(const Status& status, Rc no_room) {
  if (status.starts_over()) return status;
  const Rc code = status.code();
  constexpr Rc kWarning = 0x900, kReference = 0x910, kLockout = 0x920, kLastWarning = 0x97F;
  const bool warning = code >= kWarning && code <= kLastWarning;
  return warning && (code < kReference || code >= kLockout) ? no_room : code;
}

// --- sessions that have left the TPM

// The command's sessions in the TPM stay there meanwhile.
Status Manager::bring_back_sessions(const Plan& plan, std::uint8_t locality) {
  const Command& command = *plan.command;
  for (const std::uint32_t handle : plan.sessions)
    if (Session* session = known_session(books_, plan.space, handle)) session->last_use = books_.tick;
  for (unsigned i = 0; i < command.handle_count(); ++i) {
    if (!wire::is_session(command.handle(i).value)) continue;
    const auto covered = plan.numbers_are_covered ? std::optional(i) : std::nullopt;
    const Status status = bring_back(plan.space, command.handle(i).value, locality, covered);
    if (!status.ok()) return status;
  }
  for (const wire::Authorization& authorization : command.authorizations()) {
    if (authorization.is_password()) continue;
    const Status status = bring_back(plan.space, authorization.handle.value, locality, std::nullopt);
    if (!status.ok()) return status;
  }
  return {};
}

// `covered`: the index of the handle in the command, if an HMAC covers the number that the client knows.
Status Manager::bring_back(SpaceId space, std::uint32_t handle, std::uint8_t locality,
                           std::optional<unsigned> covered) {
  const auto its_number_is_taken = [&] { return wire::from_manager(rc::kReferenceH0 + *covered); };
  if (const Session* session = usable_session(books_, space, handle)) {
    if (!covered || session->handle == session->client.value) return rc::kSuccess;
    if (!session->can_be_made_again() || !parking_.can_have_number(wire::number_of(handle)))
      return its_number_is_taken();
    const Rc code = parking_.park(wire::number_of(session->handle));
    if (code != rc::kSuccess) return as_lack_of_room(code, rc::kSessionHandles);
  }
  const ParkedKey key{space, wire::number_of(handle)};
  if (books_.parked.count(key) == 0) return Status::start_over();
  const Status status = parking_.bring_back(key, locality, covered.has_value());
  if (status.is_not_the_same()) {
    session_book_.take_parked_one(key, {wire::Taker::Why::kNotSame});
    return Status::start_over();
  }
  if (status.is(rc::kPcrChanged) || status.is(rc::kLocality)) return wire::from_manager(status.code());
  if (status.is(rc::kReferenceH0) && covered) return its_number_is_taken();
  return as_lack_of_room(status, rc::kSessionHandles);
}

// --- make room and load

Status Manager::make_resident(const Plan& plan) {
  // A question about another object of the command may have shown that the TPM lost this one.
  for (const ClientHandle handle : plan.objects)
    if (!touch_object(books_, plan.space, handle, port_.now())) return Status::start_over();
  std::vector<std::uint32_t> numbers;  // making room may end some sessions
  for (const std::uint32_t handle : plan.sessions) {
    Session* session = usable_session(books_, plan.space, handle);
    if (session == nullptr) return Status::start_over();
    session->last_use = books_.tick;
    session->used_at = port_.now();
    numbers.push_back(wire::number_of(session->handle));
  }
  for (const ClientHandle handle : plan.objects) {
    const Status status = residency_.load_object(plan.space, handle);
    if (status.ok()) continue;
    return is_dead_context(status.code()) ? drop_unloadable_object(plan.space, handle)
                                          : as_lack_of_room(status, rc::kObjectMemory);
  }
  for (const std::uint32_t number : numbers) {
    if (find_session(books_, number) == nullptr) return Status::start_over();
    const Rc code = residency_.load_session(number);
    if (code == rc::kSuccess) continue;
    if (is_dead_context(code)) return drop_unloadable_session(number);
    return as_lack_of_room(code, rc::kSessionMemory);
  }
  return make_room_for_results(plan);
}

Status Manager::make_room_for_results(const Plan& plan) {
  // If even an emptied TPM has too little room, the TPM itself must say so.
  const Status room = as_lack_of_room(residency_.make_object_room(plan.free_slots), rc::kObjectMemory);
  if (!room.ok() && !room.is(rc::kObjectMemory)) return room;
  if (!plan.starts_session) return {};
  if (const Status number = session_book_.clear_the_way(plan.space); !number.ok())
    return as_lack_of_room(number, rc::kSessionHandles);
  return as_lack_of_room(residency_.make_session_room(1), rc::kSessionMemory);
}

// The TPM does not accept the context any more: after a reset, or after another program emptied the hierarchy.
Status Manager::drop_unloadable_object(SpaceId space, ClientHandle handle) {
  const Object* object = find_object(books_, space, handle);
  const std::uint64_t seen_at = object == nullptr ? 0 : object->seen_at;
  residency_.drop_object(space, handle);
  recovery_.note_dead_context(seen_at);
  return Status::start_over();
}

Status Manager::drop_unloadable_session(std::uint32_t number) {
  const auto found = books_.sessions.find(number);
  const std::uint64_t seen_at = found == books_.sessions.end() ? 0 : found->second.seen_at;
  // First finds out the cause: after a reset the number may belong to another program.
  recovery_.note_dead_context(seen_at);
  residency_.drop_dead_session(number);
  return Status::start_over();
}

// --- the bytes for the TPM

// Nullopt: a handle of the command is not in the TPM, so no bytes may be sent: the TPM would take the client's number
// for another client's entity.
std::optional<Bytes> Manager::translate(const Plan& plan, const StaleNonces::Hmacs& without_hmac) {
  const Command& command = *plan.command;
  const SpaceId space = plan.space;
  const View* view = space_of(books_, space).limits.view.get();
  wire::Rewrite rewrite;
  rewrite.without_hmac = without_hmac;
  rewrite.parameters = plan.parameters;
  bool complete = true;
  // The type byte stays the client's: the TPM reports a wrong type.
  const auto session_at_tpm = [&](std::uint32_t handle) -> std::optional<wire::TpmHandle> {
    if (!wire::is_session(handle)) return std::nullopt;
    const Session* session = usable_session(books_, space, handle);
    if (!TPMSPACE_HOLDS(session != nullptr)) {
      complete = false;
      return std::nullopt;
    }
    return wire::TpmHandle{(handle & 0xFF000000) | wire::number_of(session->handle)};
  };
  for (std::size_t i = 0; i < command.handle_count(); ++i) {
    const ClientHandle handle = command.handle(i);
    if (const Slot* slot = slot_of(books_, space, handle))
      rewrite.handles[i] = slot->tpm;
    else if (wire::is_transient(handle.value))
      complete = TPMSPACE_HOLDS(slot != nullptr);
    else if (wire::is_persistent(handle.value))
      rewrite.handles[i] = persistent_at_tpm(view, handle);
    else
      rewrite.handles[i] = session_at_tpm(handle.value);
  }
  for (std::size_t i = 0; i < command.authorizations().size(); ++i)
    rewrite.sessions[i] = session_at_tpm(command.authorizations()[i].handle.value);
  if (!complete) return std::nullopt;
  return wire::rewritten(command, rewrite);
}

}  // namespace tpmspace::space
