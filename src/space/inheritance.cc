#include "space/inheritance.h"

#include <utility>

#include "space/pools.h"

namespace tpmspace::space {

using wire::ClientHandle;
using wire::Rc;
namespace rc = wire::rc;

Rc Inheritance::copy(SpaceId from, std::uint64_t known, SpaceId to) {
  const auto objects = known_objects(from, known);
  if (const Rc code = save(from, objects); code != rc::kSuccess) return code;
  std::uint64_t bytes = 0;
  for (const ClientHandle handle : objects)
    if (const Object* object = find_object(books_, from, handle)) bytes += object->context.size();
  const auto others = handles_of_others(from, known);
  if (!has_room(to, objects.size(), others.size(), bytes)) return rc::kObjectMemory;
  for (const ClientHandle handle : objects) copy_object(from, handle, to);
  space_of(books_, to).taken_objects.insert(others.begin(), others.end());
  forbid_session_numbers(from, to);
  return rc::kSuccess;
}

std::vector<ClientHandle> Inheritance::known_objects(SpaceId from, std::uint64_t known) const {
  std::vector<ClientHandle> out;
  for (const auto& [handle, object] : space_of(books_, from).objects)
    if (!object.sequence && object.made_by <= known) out.push_back(ClientHandle{handle});
  return out;
}

// Handles that the child also knows, but that name no object in its space: new objects must not get these handles.
std::set<std::uint32_t> Inheritance::handles_of_others(SpaceId from, std::uint64_t known) const {
  const Space& space = space_of(books_, from);
  std::set<std::uint32_t> out = space.taken_objects;
  for (const auto& [handle, object] : space.objects)
    if (object.sequence && object.made_by <= known) out.insert(handle);
  return out;
}

// An object without a saved context is in a slot.
Rc Inheritance::save(SpaceId from, const std::vector<ClientHandle>& objects) {
  for (const ClientHandle handle : objects) {
    const Object* object = find_object(books_, from, handle);
    if (object == nullptr || !object->context.empty()) continue;
    const Slot* slot = slot_of(books_, from, handle);
    if (slot == nullptr) return rc::kFailure;
    auto context = port_.context_save(slot->tpm.value, wire::Cause::kSave);
    if (!context) return context.error();
    (void)set_context(books_, from, handle, std::move(*context));
  }
  return rc::kSuccess;
}

bool Inheritance::has_room(SpaceId to, std::size_t objects, std::size_t others, std::uint64_t bytes) const {
  if (objects + others == 0) return true;
  const Space& space = space_of(books_, to);
  const RoomInPools pools = room_in_pools(books_, chip_, to);
  return objects + others <= space.limits.objects && objects <= pools.objects && bytes <= pools.bytes &&
         books_.contexts.admits(payer_of(space), bytes);
}

void Inheritance::copy_object(SpaceId from, ClientHandle handle, SpaceId to) {
  Object* original = find_object(books_, from, handle);
  if (!TPMSPACE_HOLDS(original != nullptr)) return;
  if (original->twin == 0) original->twin = ++books_.last_twin;
  Object copy = *original;
  copy.made_by = 0;
  (void)add_object(books_, to, handle, std::move(copy));
}

void Inheritance::forbid_session_numbers(SpaceId from, SpaceId to) {
  std::set<std::uint32_t> numbers;
  const auto note = [&](const Session& session) {
    if (session.space == from && !session.client_saved) numbers.insert(wire::number_of(session.client.value));
  };
  for (const auto& [number, session] : books_.sessions) note(session);
  const auto& parked = books_.parked;
  for (auto it = parked.lower_bound({from, 0}); it != parked.end() && it->first.space == from; ++it) note(it->second);
  for (const auto& [number, stone] : space_of(books_, from).tombstones) numbers.insert(number);
  for (const std::uint32_t number : numbers) add_tombstone(books_, to, number);
}

}  // namespace tpmspace::space
