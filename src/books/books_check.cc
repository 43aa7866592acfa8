// The rules of the books.
#include <algorithm>
#include <set>

#include "books/books.h"

namespace tpmspace::space {

namespace {

// Whether the client knows a session of the space by that number, in the TPM or parked.
bool knows_number(const Books& books, SpaceId space, std::uint32_t number) {
  if (books.parked.count({space, number}) != 0) return true;
  return std::any_of(books.sessions.begin(), books.sessions.end(), [&](const auto& entry) {
    const Session& session = entry.second;
    return session.space == space && !session.client_saved && wire::number_of(session.client.value) == number;
  });
}

std::optional<std::string> check_holdings(const Books& books) {
  std::map<PoolId, Holding> pools;
  SharedRoom contexts(books.contexts.rule());
  Holding held;
  std::size_t objects = 0;
  for (const auto& [id, space] : books.spaces) {
    if (books.spaces_by_owner.count({space.owner, id}) == 0) return "an owner's space is not found by its owner";
    std::vector<Holding*> sums{&held};
    for (const Pool& pool : space.limits.pools)
      if (pool.id.value != 0) sums.push_back(&pools[pool.id]);
    for (Holding* sum : sums) {
      ++sum->spaces;
      sum->objects += static_cast<std::uint32_t>(space.objects.size());
      for (const auto& [handle, object] : space.objects) sum->bytes += object.context.size();
    }
    objects += space.objects.size();
    for (const auto& [handle, object] : space.objects) {
      contexts.take(payer_of(space), object.context.size());
      if (books.objects_by_use.count({payer_of(space), object.last_use, id, handle}) == 0)
        return "an object is not found by its last use";
    }
  }
  if (books.spaces_by_owner.size() != books.spaces.size()) return "a space that is closed is found by its owner";
  if (books.objects_by_use.size() != objects) return "an object that is gone is found by its last use";
  if (contexts != books.contexts || held != books.held) return "what owners hold is not added up";
  if (pools != books.pools) return "what pools hold is not added up";
  return std::nullopt;
}

std::optional<std::string> check_slots(const Books& books, const Chip& chip) {
  std::set<std::uint32_t> in_tpm;
  std::set<std::pair<SpaceId, wire::ClientHandle>> objects;
  for (const auto& slot : books.slots) {
    if (!wire::is_transient(slot.tpm.value)) return "a slot's handle is not transient";
    if (!in_tpm.insert(slot.tpm.value).second) return "two objects in one slot";
    if (slot.space.value == 0) continue;
    if (!objects.emplace(slot.space, slot.object).second) return "one object in two slots";
    const auto space = books.spaces.find(slot.space);
    if (space == books.spaces.end() || space->second.objects.count(slot.object.value) == 0)
      return "a slot holds what no space knows";
  }
  if (books.slots.size() > chip.object_slots) return "more objects loaded than the TPM has slots";
  return std::nullopt;
}

std::optional<std::string> check_objects(const Books& books) {
  for (const auto& [id, space] : books.spaces) {
    if (id.value == 0) return "a space is nobody's";
    if (id.value > books.last_space) return "a space's number is still to be given out";
    const auto& pools = space.limits.pools;
    for (std::size_t i = 0; i < pools.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (pools[i].id.value != 0 && pools[i].id == pools[j].id) return "a space is in one pool twice";
    if (space.limits.view && !space.limits.view->is_possible()) return "a space's window is not of persistent handles";
    for (const std::uint32_t handle : space.taken_objects)
      if (!wire::is_transient(handle) || space.objects.count(handle) != 0)
        return "a handle stands for an object and for one that was taken";
    if (space.objects.size() + space.taken_objects.size() > space.limits.objects)
      return "a space holds more objects than its limit";
    for (const auto& [handle, object] : space.objects) {
      if (!wire::is_transient(handle)) return "an object's handle is not transient";
      if (object.last_use > books.tick) return "an object was used in the future";
      if (object.context.empty() && slot_of(books, id, wire::ClientHandle{handle}) == nullptr)
        return "an object is neither loaded nor saved";
      if (object.twin > books.last_twin) return "an object's twin is still to be made";
      if (object.twin != 0 && (object.sequence || object.context.empty())) return "what has a twin has no copy of it";
    }
  }
  return std::nullopt;
}

std::optional<std::string> check_tombstones(const Books& books, const Chip& chip) {
  for (const auto& [id, space] : books.spaces) {
    for (const auto& [number, stone] : space.tombstones) {
      if (number >= chip.session_numbers) return "a tombstone has a number that no session can have";
      if (stone.order > books.reclaims) return "a tombstone is from the future";
      if (knows_number(books, id, number)) return "a space has a session under a number that was taken from it";
    }
  }
  return std::nullopt;
}

// The rules for a session in any place.
std::optional<std::string> check_session(const Books& books, const Chip& chip, const Session& session) {
  if (!wire::is_session(session.handle)) return "a session's handle is not a session's";
  if (!wire::is_session(session.client.value)) return "a client knows a session by what is no session's handle";
  if (wire::number_of(session.client.value) >= chip.session_numbers)
    return "a client knows a session by a number that no session can have";
  if (wire::kind_of(session.handle) != wire::kind_of(session.client.value)) return "a session is of two kinds";
  if (session.last_use > books.tick) return "a session was used in the future";
  if (session.space.value == 0 && !session.client_saved) return "a session of nobody is not client-saved";
  if (session.bound_to_what_counts && session.log.can_be_made_again())
    return "a session that is bound can be made again";
  if (!session.log.is_plausible()) return "nobody can make a session again as its log says";
  if (session.nonce.size() > kMaxNonce) return "a nonce is longer than any";
  if (session.space.value == 0) return std::nullopt;
  if (session.left_pools != decltype(session.left_pools){}) return "a session has left pools that its space is in";
  const auto space = books.spaces.find(session.space);
  if (space == books.spaces.end()) return "a session's space is not open";
  if (space->second.owner != session.owner) return "a session is in another owner's space";
  if (!session.client_saved && !may_take_up(space->second, session)) return "a session is secluded from its own space";
  return std::nullopt;
}

std::optional<std::string> check_sessions(const Books& books, const Chip& chip) {
  std::set<ParkedKey> known;
  for (const auto& [number, session] : books.sessions) {
    if (auto wrong = check_session(books, chip, session)) return wrong;
    if (number != wire::number_of(session.handle)) return "a session is booked under another's number";
    if (session.reserved && !session.loaded()) return "a reserved session is not loaded";
    if (!session.client_saved && !known.insert({session.space, wire::number_of(session.client.value)}).second)
      return "a space knows two sessions by one number";
  }
  std::set<std::uint32_t> unwanted_numbers;
  for (const auto& unwanted : books.unwanted_sessions) {
    if (!wire::is_session(unwanted.handle)) return "an unwanted session's handle is not a session's";
    const std::uint32_t number = wire::number_of(unwanted.handle);
    if (books.sessions.count(number) != 0) return "an unwanted session is booked as somebody's";
    if (!unwanted_numbers.insert(number).second) return "an unwanted session is booked twice";
  }
  if (loaded_sessions(books) > chip.loaded_sessions) return "more sessions loaded than the TPM has slots";
  if (books.sessions.size() + books.unwanted_sessions.size() > chip.active_sessions)
    return "more active sessions than the TPM has";
  return std::nullopt;
}

std::optional<std::string> check_parked(const Books& books, const Chip& chip) {
  std::map<OwnerId, std::uint32_t> sums;
  SharedRoom bytes(books.parked_bytes.rule());
  ParkedSum all;
  const auto check_one = [&](const Session& session) -> std::optional<std::string> {
    if (auto wrong = check_session(books, chip, session)) return wrong;
    if (!session.can_be_made_again()) return "a parked session cannot be made again";
    if (!session.context.empty()) return "a parked session has a context in the TPM";
    ++sums[session.owner];
    ++all.sessions;
    all.bytes += size_of_parked(session);
    bytes.take(Payer::of(session.owner, false), size_of_parked(session));
    return std::nullopt;
  };
  for (const auto& [key, session] : books.parked) {
    if (auto wrong = check_one(session)) return wrong;
    if (session.client_saved) return "a client-saved session is parked as usable";
    if (key.space != session.space || key.number != wire::number_of(session.client.value))
      return "a session is parked under another's number";
    for (const auto& [number, active] : books.sessions)
      if (!active.client_saved && active.space == key.space && wire::number_of(active.client.value) == key.number)
        return "a session is parked and in the TPM";
  }
  for (const auto& [copy, session] : books.parked_files) {
    if (auto wrong = check_one(session)) return wrong;
    if (!session.client_saved || session.client_copy != copy) return "a parked file is not client-saved";
    if (books.files_by_owner.count({session.owner, session.space, session.last_use, copy}) == 0)
      return "a parked file is not found by its owner";
  }
  if (books.files_by_owner.size() != books.parked_files.size())
    return "a parked file that is gone is found by its owner";
  if (sums != books.parked_by_owner || bytes != books.parked_bytes || all != books.parked_in_all)
    return "what owners have parked is not added up";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> check(const Books& books, const Chip& chip) {
  if (auto wrong = check_slots(books, chip)) return wrong;
  if (auto wrong = check_objects(books)) return wrong;
  if (auto wrong = check_holdings(books)) return wrong;
  if (auto wrong = check_tombstones(books, chip)) return wrong;
  if (auto wrong = check_sessions(books, chip)) return wrong;
  return check_parked(books, chip);
}

}  // namespace tpmspace::space
