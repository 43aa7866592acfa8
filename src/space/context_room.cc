#include "space/context_room.h"

#include <algorithm>

namespace tpmspace::space {

ShareRule ContextRoom::rule(const Quota& quota, const Chip& chip) {
  const std::uint64_t to_come = std::uint64_t{chip.object_slots} * chip.max_response;
  // So a minimum is room for two objects of any length.
  return ShareRule::of(quota.context_bytes - std::min(quota.context_bytes / 2, to_come),
                       std::uint64_t{2} * chip.max_response);
}

bool ContextRoom::make(SpaceId space) {
  const Payer payer = payer_of(space_of(books_, space));
  for (int dropped = 0; !books_.contexts.admits(payer, chip_.max_response); ++dropped) {
    const auto object = dropped < kMostDropped ? object_to_drop(space) : std::nullopt;
    if (!object) return false;
    drop(*object, space);
  }
  return true;
}

std::optional<ObjectKey> ContextRoom::object_to_drop(SpaceId id) const {
  const Space& space = space_of(books_, id);
  if (space.limits.terms.exhaustion != Exhaustion::kReclaim) return std::nullopt;
  const Payer payer = payer_of(space);
  const SharedRoom& room = books_.contexts;
  const auto largest = room.largest();
  if (!largest || *largest == payer || room.taken(*largest) <= room.rule().minimum) return std::nullopt;
  // The waiting payer never gets more than the other payer keeps.
  if (room.taken(payer) + chip_.max_response >= room.taken(*largest)) return std::nullopt;
  const auto& objects = books_.objects_by_use;
  auto it = objects.lower_bound(ObjectKey{*largest, 0, {}, 0});
  // The payer's spaces may have leases of different length; an object with an endless lease does not hide other
  // objects.
  for (int looked = 0; looked < kMostDropped && it != objects.end() && it->payer == *largest; ++looked, ++it) {
    const Object* one = find_object(books_, it->space, wire::ClientHandle{it->handle});
    if (!TPMSPACE_HOLDS(one != nullptr)) continue;
    const std::uint64_t used_at = one->used_at, lease = space_of(books_, it->space).limits.terms.lease;
    const bool is_idle = lease <= port_.now() && used_at <= port_.now() - lease;
    if (is_idle && it->last_use != books_.tick) return *it;
  }
  return std::nullopt;
}

void ContextRoom::drop(const ObjectKey& object, SpaceId for_whom) {
  Space& from = space_of(books_, object.space);
  const Holder loser = holder_of(books_, object.space), waiter = holder_of(books_, for_whom);
  residency_.drop_object(object.space, wire::ClientHandle{object.handle});
  from.taken_objects.insert(object.handle);
  port_.cost().reclaimed.push_back(
      {.owner = loser.owner.value,
       .user = loser.part.user,
       .space = object.space.value,
       .handle = object.handle,
       .by = {.why = wire::Taker::Why::kRoom, .waiter = waiter.owner.value, .user = waiter.part.user}});
}

}  // namespace tpmspace::space
