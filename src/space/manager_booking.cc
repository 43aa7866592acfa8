// Books the TPM's confirmed results, and translates the response for the client.
#include <algorithm>
#include <utility>

#include "space/capability_view.h"
#include "space/chip_lists.h"
#include "space/manager.h"

namespace tpmspace::space {

using wire::Bytes;
using wire::ClientHandle;
using wire::Command;
using wire::Creates;
using wire::Effect;
using wire::Response;
namespace cc = wire::cc;

namespace {

// To all other commands of the specification a sequence is an object of the wrong type.
bool may_change_a_sequence(wire::CommandCode code) {
  constexpr wire::CommandCode kVendor = 0x2000'0000;
  return code == cc::kSequenceUpdate || code == cc::kSequenceComplete || code == cc::kEventSequenceComplete ||
         (code & kVendor) != 0;
}

}  // namespace

// The TPM had the entities that the command names.
void Manager::note_seen(const Plan& plan) {
  for (const ClientHandle handle : plan.objects)
    if (Object* object = find_object(books_, plan.space, handle)) object->seen_at = port_.now();
  for (const std::uint32_t handle : plan.sessions)
    if (Session* session = known_session(books_, plan.space, handle)) session->seen_at = port_.now();
}

void Manager::forget_copies_of_used_sequences(const Plan& plan) {
  if (!may_change_a_sequence(plan.command->code())) return;
  for (const ClientHandle handle : plan.objects) {
    const Object* object = find_object(books_, plan.space, handle);
    if (object != nullptr && object->sequence) (void)set_context(books_, plan.space, handle, {});
  }
}

void Manager::book(const Plan& plan, Response& response, Outcome& outcome) {
  const SpaceId space = plan.space;
  const Command& command = *plan.command;
  const wire::CommandRow& row = command.row();
  if (row.flushes_handle >= 0) {
    const ClientHandle handle = command.handle(static_cast<std::size_t>(row.flushes_handle));
    std::erase_if(books_.slots, [&](const Slot& slot) { return slot.space == space && slot.object == handle; });
    erase_object(books_, space, handle);
  }
  session_book_.book_policy(space, command);
  session_book_.book_uses(space, command, response);
  if (row.has_response_handle()) book_created(space, command, response, outcome);
  if (row.effect == Effect::kContextSave) book_client_save(space, command, response);
  if (command.code() == cc::kStartup) recovery_.after_startup();
  if (row.extensive) recovery_.after_extensive(command);
  protection_.book(command, response);
}

// The effects on used entities are booked before, so that comparisons with the TPM's lists after an unnoticed start-up
// are right. `hand_out` may erase earlier entities of the client; the new handle is then chosen as if these had never
// existed.
void Manager::book_created(SpaceId space, const Command& command, Response& response, Outcome& outcome) {
  if (!response.handle()) return;
  const wire::TpmHandle handle = *response.handle();
  const Status handed_out = residency_.hand_out(handle);
  if (!handed_out.ok() && !handed_out.starts_over()) return;
  if (wire::is_session(handle.value)) {
    outcome.created = session_book_.book_started(space, command, response);
    if (outcome.created) response.replace_handle(*outcome.created);
    return;
  }
  Object object;
  object.last_use = books_.tick;
  object.seen_at = port_.now();
  object.used_at = port_.now();
  object.sequence = command.row().creates == Creates::kSequence;
  object.counts_misses = counts_misses_of_created(command);
  if (command.row().effect == Effect::kContextLoad) {
    object.context = wire::to_bytes(command.parameters());
    const auto info = read_context(object.context);
    object.sequence = info && info->is_sequence();
  }
  const ClientHandle client = free_handle(space);
  if (!add_object(books_, space, client, std::move(object))) return;
  residency_.give_slot(handle, space, client);
  chip_.object_slots = std::max(chip_.object_slots, static_cast<std::uint32_t>(books_.slots.size()));
  response.replace_handle(client);
  outcome.created = client;
}

// The TPM made a context for the client, which also serves as the manager's copy.
void Manager::book_client_save(SpaceId space, const Command& command, const Response& response) {
  const ClientHandle handle = command.handle(0);
  Bytes context = wire::to_bytes(response.parameters());
  if (wire::is_transient(handle.value)) {
    (void)set_context(books_, space, handle, std::move(context));
    return;
  }
  Session* session = usable_session(books_, space, handle.value);
  if (session == nullptr) return;
  session->client_saved = true;
  session->reserved = false;
  session->client_copy = digest_of(context);
  residency_.book_saved(*session, std::move(context));
  residency_.keep_gap();
}

std::optional<Bytes> Manager::capabilities_in_space(const Plan& plan, const Response& response) {
  const auto& query = plan.query;
  if (!query || plan.command->has_sessions()) return std::nullopt;
  const View* view = space_of(books_, plan.space).limits.view.get();
  const auto shown = hides(view, *query) ? ChipLists(*view, port_).parameters(*query, response.parameters())
                                         : properties_in_space(response.parameters(), books_, chip_, plan.space, port_);
  return shown ? wire::success_response(*shown) : wire::manager_error(wire::rc::kFailure);
}

// Lowest free first, as a TPM does. The space is below its limit, which is far below 2^24.
ClientHandle Manager::free_handle(SpaceId space) const {
  const Space& here = space_of(books_, space);
  std::uint32_t candidate = wire::kFirstTransient;
  while (here.objects.count(candidate) != 0 || here.taken_objects.count(candidate) != 0) ++candidate;
  return ClientHandle{candidate};
}

}  // namespace tpmspace::space
