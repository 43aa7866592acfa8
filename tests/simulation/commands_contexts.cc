// ContextSave, ContextLoad, FlushContext. Source: TPM 2.0 library, Part 3, 28.2 to 28.4. tpm-behaviour 11 to 16, 25.
#include "codes.h"
#include "context_blob.h"
#include "model_state.h"

namespace tpmspace::simulation::commands {
namespace {

using wire::Rc;

std::uint32_t saved_handle_of(const Object& object) {
  if (object.is_sequence()) return kSavedSequence;
  return object.st_clear ? kSavedStClear : kSavedObject;
}

void save_object(Call& call) {
  const Object& object = call.object(0);
  ChipState& chip = *call.tpm.chip;
  const OpenedContext context{++chip.object_contexts, saved_handle_of(object),
                              static_cast<std::uint32_t>(object.hierarchy), object.serialize()};
  call.out.raw(seal_context(chip, context, call.tpm.limits.context_padding));
}

Rc save_session(Call& call) {
  const std::uint32_t handle = call.handles[0];
  wire::Bytes content = call.session(0).serialize();
  const auto sequence = call.tpm.sessions.save(wire::number_of(handle));
  if (!sequence) return sequence.error();
  const OpenedContext context{*sequence, handle, kRhNull, std::move(content)};
  call.out.raw(seal_context(*call.tpm.chip, context, call.tpm.limits.context_padding));
  return wire::rc::kSuccess;
}

Rc load_object(Call& call, const OpenedContext& context) {
  HierarchyState& hierarchy = *call.tpm.chip->find(context.hierarchy);
  if (!hierarchy.enabled) return wire::rc::in_parameter(wire::rc::kHierarchy, 1);
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  auto object = Object::parse(context.content);
  if (!object) return wire::rc::kFailure;
  object->epoch = hierarchy.epoch;
  call.response_handle = call.tpm.objects.add(std::move(*object));
  return wire::rc::kSuccess;
}

Rc load_session(Call& call, const OpenedContext& context) {
  const std::uint32_t number = wire::number_of(context.saved_handle);
  auto session = Session::parse(context.content);
  if (!session) return wire::rc::kFailure;
  call.clear_orderly();
  if (!call.tpm.sessions.is_current(number, context.sequence)) return wire::rc::in_parameter(wire::rc::kHandle, 1);
  if (const Rc code = call.tpm.sessions.load(number, std::move(*session)); code != 0) return code;
  call.response_handle = context.saved_handle;
  return wire::rc::kSuccess;
}

}  // namespace

Rc context_save(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  call.clear_orderly();
  if (wire::is_session(call.handles[0])) return save_session(call);
  save_object(call);
  return wire::rc::kSuccess;
}

Rc context_load(Call& call) {
  const auto context = open_context(*call.tpm.chip, call.in.raw().rest(), call.tpm.limits.active_sessions);
  if (!context) return context.error();
  return wire::is_session(context->saved_handle) ? load_session(call, *context) : load_object(call, *context);
}

Rc flush_context(Call& call) {
  const std::uint32_t handle = call.in.u32();
  const std::uint32_t number = wire::number_of(handle);
  const bool session = wire::is_session(handle) && number < call.tpm.limits.active_sessions;
  const bool object = wire::is_transient(handle) && handle - wire::kFirstTransient < call.tpm.limits.object_slots;
  if (!session && !object) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;
  const Rc not_there = wire::rc::in_parameter(wire::rc::kHandle, 1);
  if (object) {
    if (call.tpm.objects.find(handle) == nullptr) return not_there;
    call.tpm.objects.remove(handle);
    return wire::rc::kSuccess;
  }
  // The type byte is not looked at (tpm-behaviour 11), except for the exclusive audit session.
  if (!call.tpm.sessions.is_active(number)) return not_there;
  if (call.tpm.exclusive_audit_session == handle) call.tpm.exclusive_audit_session = 0;
  call.tpm.sessions.flush(number);
  return wire::rc::kSuccess;
}

}  // namespace tpmspace::simulation::commands
