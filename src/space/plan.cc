#include "space/plan.h"

#include <algorithm>

#include "space/view_commands.h"

namespace tpmspace::space {

using wire::Authorization;
using wire::ClientHandle;
using wire::Command;
using wire::Creates;
using wire::Rc;
namespace rc = wire::rc;

bool creates_object(const Command& command) {
  const Creates creates = command.row().creates;
  return creates == Creates::kObject || creates == Creates::kSequence || creates == Creates::kByContext;
}

namespace {

// In addition to the slots of the command's transient objects (docs/tpm-behaviour.md, "Object slots").
std::uint32_t free_slots_needed(const Command& command) {
  std::uint32_t needed = command.row().scratch_slots;
  if (creates_object(command)) ++needed;
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    if (wire::is_persistent(command.handle(i).value)) ++needed;
  return needed;
}

// Whether the command depends on what the books say about the TPM.
bool needs_loaded(const Plan& plan) {
  const auto& authorizations = plan.command->authorizations();
  return plan.command->row().has_response_handle() || !plan.objects.empty() || !plan.sessions.empty() ||
         std::any_of(authorizations.begin(), authorizations.end(),
                     [](const Authorization& authorization) { return !authorization.is_password(); });
}

std::optional<Refusal> refusal_of_handle(const Books& books, const Chip& chip, SpaceId id, std::uint32_t handle,
                                         unsigned index) {
  const Space& space = space_of(books, id);
  if (wire::is_transient(handle) && space.objects.count(handle) == 0) return Refusal{rc::kReferenceH0 + index, handle};
  if (wire::is_persistent(handle) && !persistent_at_tpm(space.limits.view.get(), ClientHandle{handle}))
    return Refusal{rc::in_handle(rc::kHandle, index + 1), {}};
  if (!wire::is_session(handle)) return std::nullopt;
  if (wire::number_of(handle) >= chip.session_numbers) return Refusal{rc::in_handle(rc::kValue, index + 1), {}};
  if (known_session(books, id, handle) == nullptr) return Refusal{rc::kReferenceH0 + index, handle};
  return std::nullopt;
}

std::optional<Refusal> refusal_of_session(const Books& books, const Chip& chip, SpaceId id,
                                          const Authorization& authorization, unsigned index) {
  if (authorization.is_password()) return std::nullopt;
  const std::uint32_t handle = authorization.handle.value;
  if (wire::number_of(handle) >= chip.session_numbers) return Refusal{rc::in_session(rc::kValue, index + 1), {}};
  if (known_session(books, id, handle) == nullptr) return Refusal{rc::kReferenceS0 + index, handle};
  return std::nullopt;
}

// A handle without an entity in the space is refused before the TPM, in the TPM's order of checks: handles, then
// sessions.
std::optional<Refusal> refusal_of_handles(const Books& books, const Chip& chip, const Plan& plan) {
  const Command& command = *plan.command;
  for (unsigned i = 0; i < command.handle_count(); ++i)
    if (auto refusal = refusal_of_handle(books, chip, plan.space, command.handle(i).value, i)) return refusal;
  for (unsigned i = 0; i < command.authorizations().size(); ++i)
    if (auto refusal = refusal_of_session(books, chip, plan.space, command.authorizations()[i], i)) return refusal;
  // PolicySecret can name four sessions (docs/tpm-behaviour.md 19): no order of loading helps.
  if (plan.sessions.size() > chip.loaded_sessions) return Refusal{rc::kSessionMemory, {}};
  return std::nullopt;
}

std::optional<Refusal> refusal_of(const Books& books, const Chip& chip, const Plan& plan) {
  if (auto refusal = refusal_of_handles(books, chip, plan)) return refusal;
  if (books.in_doubt && needs_loaded(plan)) return Refusal{rc::kFailure, {}};
  const View* view = space_of(books, plan.space).limits.view.get();
  if (const auto code = refusal_by_view(view, *plan.command)) return Refusal{*code, {}};
  if (const auto code = refusal_by_nonces(books, plan.space, *plan.command)) return Refusal{*code, {}};
  return std::nullopt;
}

}  // namespace

std::vector<std::uint32_t> sessions_in(const Command& command) {
  std::vector<std::uint32_t> out;
  const auto add = [&](std::uint32_t handle) {
    const auto is_it = [&](std::uint32_t other) { return wire::number_of(other) == wire::number_of(handle); };
    if (wire::is_session(handle) && std::none_of(out.begin(), out.end(), is_it)) out.push_back(handle);
  };
  for (std::size_t i = 0; i < command.handle_count(); ++i) add(command.handle(i).value);
  for (const Authorization& authorization : command.authorizations()) add(authorization.handle.value);
  return out;
}

Plan make_plan(const Books& books, const Chip& chip, SpaceId space, const Command& command) {
  Plan plan;
  plan.space = space;
  plan.command = &command;
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    if (wire::is_transient(command.handle(i).value)) plan.objects.push_back(command.handle(i));
  plan.sessions = sessions_in(command);
  plan.free_slots = free_slots_needed(command);
  plan.starts_session = command.row().creates == Creates::kSession;
  plan.numbers_are_covered = numbers_are_covered(books, space, command);
  plan.query = capability_query(command);
  plan.refusal = refusal_of(books, chip, plan);
  if (!plan.refusal) plan.parameters = parameters_at_tpm(space_of(books, space).limits.view.get(), command);
  return plan;
}

Swaps estimate(const Books& books, const Chip& chip, const Plan& plan) {
  Swaps out;
  if (plan.refusal) return out;
  for (const ClientHandle handle : plan.objects)
    if (slot_of(books, plan.space, handle) == nullptr && slot_of_twin(books, plan.space, handle) == nullptr)
      ++out.objects_in;
  const auto beyond = [](std::size_t wanted, std::size_t room) {
    return static_cast<std::uint32_t>(wanted > room ? wanted - room : 0);
  };
  const std::size_t pinned = plan.objects.size() - out.objects_in;
  const auto may_leave = static_cast<std::uint32_t>(books.slots.size() - std::min(books.slots.size(), pinned));
  out.objects_out =
      std::min(may_leave, beyond(books.slots.size() + out.objects_in + plan.free_slots, chip.object_slots));
  for (const std::uint32_t handle : plan.sessions) {
    const Session* session = usable_session(books, plan.space, handle);
    if (session == nullptr)
      ++out.rebuilds;
    else if (!session->loaded())
      ++out.sessions_in;
  }
  const std::uint32_t more = out.sessions_in + out.rebuilds + (plan.starts_session ? 1U : 0U);
  if (more != 0) out.sessions_out = beyond(loaded_sessions(books) + std::size_t{more}, chip.loaded_sessions);
  return out;
}

}  // namespace tpmspace::space
