// Makes broken books consistent again, after a broken invariant.
#include <set>
#include <utility>

#include "books/books.h"

namespace tpmspace::space {

namespace {

bool is_open_for(const Books& books, const Session& session) {
  const Space* space = find_space(books, session.space);
  return space != nullptr && space->owner == session.owner;
}

// A slot has one object of an open space, or is unwanted.
void repair_slots(Books& books) {
  std::set<wire::TpmHandle> handles;
  std::set<std::pair<SpaceId, wire::ClientHandle>> objects;
  std::erase_if(books.slots, [&](const Slot& slot) {
    return !wire::is_transient(slot.tpm.value) || !handles.insert(slot.tpm).second;
  });
  for (Slot& slot : books.slots) {
    if (slot.space.value == 0) continue;
    const bool is_one =
        find_object(books, slot.space, slot.object) != nullptr && objects.emplace(slot.space, slot.object).second;
    if (!is_one) slot = Slot{slot.tpm, SpaceId{}, wire::ClientHandle{}};
  }
}

// A session of no open space is unwanted, unless a client without a connection may load it again.
void repair_sessions(Books& books) {
  std::erase_if(books.sessions, [](const auto& entry) { return wire::number_of(entry.second.handle) != entry.first; });
  std::set<std::uint32_t> ended, numbers;
  for (const auto& [number, session] : books.sessions) {
    const bool is_left = session.space.value == 0 && session.client_saved;
    if (!is_left && !is_open_for(books, session)) ended.insert(number);
  }
  for (const std::uint32_t number : ended) make_unwanted(books, number);
  std::erase_if(books.unwanted_sessions, [&](const UnwantedSession& unwanted) {
    const std::uint32_t number = wire::number_of(unwanted.handle);
    return books.sessions.count(number) != 0 || !numbers.insert(number).second;
  });
}

void repair_parked(Books& books) {
  std::erase_if(books.parked, [&](const auto& entry) {
    const Session& session = entry.second;
    const ParkedKey key{session.space, wire::number_of(session.client.value)};
    return entry.first != key || session.client_saved || !is_open_for(books, session);
  });
  std::erase_if(books.parked_files, [&](const auto& entry) {
    const Session& file = entry.second;
    const bool is_left = file.space.value == 0;
    return entry.first != file.client_copy || !file.client_saved || !(is_left || is_open_for(books, file));
  });
}

}  // namespace

void make_consistent(Books& books) {
  repair_slots(books);
  for (auto& [id, space] : books.spaces)
    std::erase_if(space.objects, [&, here = id](const auto& entry) {
      return entry.second.context.empty() && slot_of(books, here, wire::ClientHandle{entry.first}) == nullptr;
    });
  repair_sessions(books);
  repair_parked(books);
  add_up(books);
}

void empty_space(Books& books, SpaceId id) {
  Space& space = space_of(books, id);
  std::set<std::uint32_t> ended;
  for (const auto& [number, session] : books.sessions)
    if (session.space == id) ended.insert(number);
  for (const std::uint32_t number : ended) make_unwanted(books, number);
  drop_parked_of(books, id);
  leave_slots(books, id);
  while (!space.objects.empty()) erase_object(books, id, wire::ClientHandle{space.objects.begin()->first});
  space.taken_objects.clear();
  space.given_up = true;
}

}  // namespace tpmspace::space
