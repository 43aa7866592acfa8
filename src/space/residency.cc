#include "space/residency.h"

#include <algorithm>
#include <utility>

namespace tpmspace::space {

using wire::Cause;
using wire::Rc;
namespace rc = wire::rc;

namespace {

// N idle sessions that were saved one after the other are refreshed in N / kRefreshesPerSave saves, so the margin
// before the end of the gap must be larger than that number; see `margin`.
constexpr int kRefreshesPerSave = 4;

// How long before the end of the gap refreshing begins.
std::uint64_t margin(const Chip& chip) {
  return std::clamp<std::uint64_t>(chip.context_gap / 4, 4, 1024);
}
// At this distance from the end, refreshing is unconditional.
constexpr std::uint64_t kLastMoment = 8;

// Whether an entity is gone after FlushContext: if flushed, or if the TPM does not know the entity. After any other
// code (a warning, no power, no response) the entity stays.
bool is_gone_after(Rc code) {
  const Rc base = wire::base_code(code);
  return code == rc::kSuccess || base == rc::kHandle || base == rc::kValue ||
         (code >= rc::kReferenceH0 && code < rc::kReferenceH0 + 7);
}

// Whether the response to a command says that the TPM does not have an entity that the books hold as loaded.
bool says_unknown(Rc code) {
  return wire::base_code(code) == rc::kHandle || (code >= rc::kReferenceH0 && code < rc::kReferenceH0 + 7);
}

template <typename List>
void erase_at(List& list, std::size_t index) {
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(index));
}

}  // namespace

bool Residency::is_for_another_try(Rc code) {
  constexpr Rc kWarning = 0x900, kLastWarning = 0x97F;
  const bool unknown = code >= rc::kReferenceH0 && code < rc::kReferenceH0 + 7;
  return code >= kWarning && code <= kLastWarning && !unknown;
}

// The books are wrong. Other entities booked as loaded are then uncertain too: the TPM must be asked.
void Residency::note_unknown(Rc code) {
  if (says_unknown(code)) books_.in_doubt = true;
}

Status Residency::hand_out(wire::TpmHandle handle) {
  switch (recovery_.hand_out(handle)) {
    case Recovery::HandedOut::kFree:
      return rc::kSuccess;
    case Recovery::HandedOut::kBooksWereWrong:
      return Status::start_over();
    case Recovery::HandedOut::kNotBelieved:
      break;
  }
  return rc::kFailure;
}

// For a handle that is impossible here.
Rc Residency::distrust() {
  port_.cost().distrusted = true;
  return rc::kFailure;
}

// --- objects

void Residency::give_slot(wire::TpmHandle tpm, SpaceId space, wire::ClientHandle object) {
  for (Slot& slot : books_.slots)
    if (slot.tpm == tpm) slot = Slot{tpm, space, object};
}

// Unwanted objects first, then the least recently used.
std::vector<wire::TpmHandle> Residency::objects_to_evict() const {
  std::vector<std::pair<std::uint64_t, wire::TpmHandle>> ranked;
  for (const Slot& slot : books_.slots) {
    const Object* object = object_in(books_, slot);
    const std::uint64_t used = object == nullptr ? 0 : object->last_use;
    if (object == nullptr || !pinned(used)) ranked.emplace_back(used, slot.tpm);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<wire::TpmHandle> out;
  out.reserve(ranked.size());
  for (const auto& [used, handle] : ranked) out.push_back(handle);
  return out;
}

// For a slot of a space. The object stays in the TPM.
Rc Residency::save_copy(const Slot& slot) {
  Object* object = object_in(books_, slot);
  if (object == nullptr) return rc::kFailure;
  if (!object->context.empty()) return rc::kSuccess;
  auto context = port_.context_save(slot.tpm.value, Cause::kSave);
  if (!context) {
    note_unknown(context.error());
    return context.error();
  }
  (void)set_context(books_, slot.space, slot.object, std::move(*context));
  object->seen_at = port_.now();
  return rc::kSuccess;
}

Rc Residency::empty_slot(std::size_t index, Cause cause) {
  if (!TPMSPACE_HOLDS(index < books_.slots.size())) return rc::kFailure;
  const Slot slot = books_.slots[index];
  const bool is_wanted = object_in(books_, slot) != nullptr;
  if (is_wanted) {
    if (const Rc code = save_copy(slot); code != rc::kSuccess) return code;
    ++port_.cost().evictions;
  }
  const Rc code =
      is_wanted ? port_.flush(slot.tpm.value, cause) : port_.flush_left_behind(slot.tpm.value, cause, slot.left_by);
  if (!is_gone_after(code)) return code;
  note_unknown(code);
  erase_at(books_.slots, index);
  return rc::kSuccess;
}

Rc Residency::evict_object() {
  Rc why = rc::kObjectMemory;
  for (const wire::TpmHandle handle : objects_to_evict()) {
    const auto slot =
        std::find_if(books_.slots.begin(), books_.slots.end(), [&](const Slot& s) { return s.tpm == handle; });
    const Rc code = empty_slot(static_cast<std::size_t>(slot - books_.slots.begin()), Cause::kFlush);
    if (!is_for_another_try(code)) return code;
    why = code;
  }
  return why;
}

Rc Residency::make_object_room(std::uint32_t wanted) {
  while (books_.slots.size() + wanted > chip_.object_slots)
    if (const Rc code = evict_object(); code != rc::kSuccess) return code;
  return rc::kSuccess;
}

Status Residency::load_object(SpaceId space, wire::ClientHandle handle) {
  if (slot_of(books_, space, handle) != nullptr) return rc::kSuccess;
  // Several spaces have the object (space/inheritance.h): this space gets the slot.
  if (Slot* slot = slot_of_twin(books_, space, handle)) {
    slot->space = space;
    slot->object = handle;
    return rc::kSuccess;
  }
  if (const Rc code = make_object_room(1); code != rc::kSuccess) return code;
  Object* object = find_object(books_, space, handle);
  if (!TPMSPACE_HOLDS(object != nullptr && !object->context.empty())) return rc::kFailure;
  auto loaded = port_.context_load(object->context, Cause::kLoad);
  // The chip may have less room than the books show (other users, or a large object): evict one more object and retry.
  while (!loaded && (loaded.error() == rc::kObjectMemory || loaded.error() == rc::kObjectHandles ||
                     loaded.error() == rc::kMemory)) {
    if (const Rc code = evict_object(); code != rc::kSuccess) return code;
    loaded = port_.context_load(object->context, Cause::kLoad);
  }
  if (!loaded) return loaded.error();
  object->seen_at = port_.now();
  const Status status = wire::is_transient(loaded->value) ? hand_out(*loaded) : Status(distrust());
  if (status.ok() || status.starts_over()) give_slot(*loaded, space, handle);
  return status;
}

void Residency::drop_object(SpaceId space, wire::ClientHandle handle) {
  leave_slots(books_, space, handle);
  erase_object(books_, space, handle);
}

void Residency::flush_object_of_client(SpaceId space, wire::ClientHandle handle) {
  const Slot* slot = slot_of(books_, space, handle);
  const auto index = slot == nullptr ? books_.slots.size() : static_cast<std::size_t>(slot - books_.slots.data());
  drop_object(space, handle);
  if (index < books_.slots.size()) (void)empty_slot(index, Cause::kClient);
}

// --- sessions

std::vector<std::uint32_t> Residency::sessions_to_evict() const {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> ranked;
  for (const auto& [number, session] : books_.sessions)
    if (session.loaded() && !is_pinned(session)) ranked.emplace_back(session.last_use, number);
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::uint32_t> out;
  out.reserve(ranked.size());
  for (const auto& [used, number] : ranked) out.push_back(number);
  return out;
}

Rc Residency::flush_unwanted_session_at(std::size_t index, Cause cause) {
  if (!TPMSPACE_HOLDS(index < books_.unwanted_sessions.size())) return rc::kFailure;
  const UnwantedSession unwanted = books_.unwanted_sessions[index];
  const Rc code = port_.flush_left_behind(unwanted.handle, cause, unwanted.left_by);
  if (!is_gone_after(code)) return code;
  note_unknown(code);
  erase_at(books_.unwanted_sessions, index);
  return rc::kSuccess;
}

Rc Residency::evict_session() {
  Rc why = rc::kSessionMemory;
  for (std::size_t i = 0; i < books_.unwanted_sessions.size(); ++i) {
    if (!books_.unwanted_sessions[i].loaded) continue;
    const Rc code = flush_unwanted_session_at(i, Cause::kFlush);
    if (!is_for_another_try(code)) return code;
    why = code;
  }
  for (const std::uint32_t number : sessions_to_evict()) {
    Session* session = find_session(books_, number);
    if (!TPMSPACE_HOLDS(session != nullptr && session->loaded())) continue;
    const Rc code = save_session(*session);
    if (code == rc::kSuccess) ++port_.cost().evictions;
    if (!is_for_another_try(code)) return code;
    why = code;
  }
  return why;
}

void Residency::flush_session(std::uint32_t number, Cause cause) {
  if (!make_unwanted(books_, number)) return;
  // The owner of a reclaimed session did not request the flush.
  if (cause == Cause::kReclaim) books_.unwanted_sessions.back().left_by = OwnerId{};
  (void)flush_unwanted_session_at(books_.unwanted_sessions.size() - 1, cause);
}

Rc Residency::make_session_room(std::uint32_t wanted) {
  while (loaded_sessions(books_) + wanted > chip_.loaded_sessions)
    if (const Rc code = evict_session(); code != rc::kSuccess) return code;
  return rc::kSuccess;
}

void Residency::book_saved(Session& session, wire::Bytes context) {
  const auto info = read_context(context);
  session.sequence = info ? info->sequence : books_.newest_sequence + 1;
  books_.newest_sequence = std::max(books_.newest_sequence, session.sequence);
  session.context = std::move(context);
  session.seen_at = port_.now();
}

Rc Residency::save_session(Session& session) {
  auto context = port_.context_save(session.handle, Cause::kSave);
  if (!context && context.error() == rc::kContextGap) {
    // keep_gap should have prevented this, but other users may save sessions on this chip as well.
    if (const Rc code = refresh_oldest(); code != rc::kSuccess) return code;
    context = port_.context_save(session.handle, Cause::kSave);
  }
  if (!context) {
    note_unknown(context.error());
    return context.error();
  }
  book_saved(session, std::move(*context));
  keep_gap();
  return rc::kSuccess;
}

Rc Residency::load_session(std::uint32_t number) {
  const Session* session = find_session(books_, number);
  if (!TPMSPACE_HOLDS(session != nullptr)) return rc::kFailure;
  if (session->loaded()) return rc::kSuccess;
  if (const Rc code = make_session_room(1); code != rc::kSuccess) return code;
  for (bool refreshed = false;;) {
    // Making room refreshes other sessions, and may find any session dead, or leave this session loaded.
    const auto it = books_.sessions.find(number);
    if (it == books_.sessions.end()) return rc::in_parameter(rc::kHandle, 1);
    if (it->second.loaded()) return rc::kSuccess;
    const auto loaded = port_.context_load(it->second.context, Cause::kLoad);
    if (loaded && loaded->value != it->second.handle) return distrust();
    if (loaded) {
      it->second.context.clear();
      it->second.seen_at = port_.now();
      return rc::kSuccess;
    }
    const bool no_room = loaded.error() == rc::kSessionMemory || loaded.error() == rc::kMemory;
    const bool gap = loaded.error() == rc::kContextGap && !std::exchange(refreshed, true);
    if (!no_room && !gap) return loaded.error();
    const Rc repaired = gap ? refresh_oldest() : evict_session();
    if (repaired != rc::kSuccess) return gap ? loaded.error() : repaired;
  }
}

tl::expected<std::uint32_t, Status> Residency::add_filler() {
  if (const Rc code = make_session_room(1); code != rc::kSuccess) return tl::unexpected(Status(code));
  auto started = port_.start_filler();
  if (!started && started.error() == rc::kContextGap && refresh_oldest() == rc::kSuccess)
    started = port_.start_filler();
  if (!started) return tl::unexpected(Status(started.error()));
  const Status handed_out = wire::is_session(started->value) ? hand_out(*started) : Status(distrust());
  if (!handed_out.ok()) return tl::unexpected(handed_out);
  const std::uint32_t number = wire::number_of(started->value);
  auto context = port_.context_save(started->value, Cause::kFiller);
  if (!context && context.error() == rc::kContextGap && refresh_oldest() == rc::kSuccess)
    context = port_.context_save(started->value, Cause::kFiller);
  if (!context) return tl::unexpected(Status(context.error()));
  const auto info = read_context(*context);
  if (!TPMSPACE_HOLDS(!books_.unwanted_sessions.empty())) return tl::unexpected(Status(rc::kFailure));
  UnwantedSession& filler = books_.unwanted_sessions.back();
  filler.loaded = false;
  filler.sequence = info ? info->sequence : books_.newest_sequence + 1;
  books_.newest_sequence = std::max(books_.newest_sequence, filler.sequence);
  keep_gap();
  return number;
}

// --- the context gap

Session* Residency::oldest_saved() {
  Session* oldest = nullptr;
  for (auto& [number, session] : books_.sessions) {
    if (session.loaded()) continue;
    if (oldest == nullptr || session.sequence < oldest->sequence) oldest = &session;
  }
  return oldest;
}

std::uint64_t Residency::gap() const {
  std::uint64_t oldest = books_.newest_sequence;
  for (const auto& unwanted : books_.unwanted_sessions)
    if (!unwanted.loaded) oldest = std::min(oldest, unwanted.sequence);
  for (const auto& [number, session] : books_.sessions)
    if (!session.loaded()) oldest = std::min(oldest, session.sequence);
  return books_.newest_sequence - oldest;
}

Rc Residency::refresh_oldest() {
  Session* oldest = oldest_saved();
  // Unwanted saved sessions count for the TPM's gap as well, and a flush is cheaper than a refresh. A younger unwanted
  // session does not matter, and may be a filler that is still needed.
  for (std::size_t i = 0; i < books_.unwanted_sessions.size(); ++i) {
    const UnwantedSession& unwanted = books_.unwanted_sessions[i];
    if (!unwanted.loaded && (oldest == nullptr || unwanted.sequence < oldest->sequence))
      return flush_unwanted_session_at(i, Cause::kFlush);
  }
  if (oldest == nullptr || loaded_sessions(books_) >= chip_.loaded_sessions) return rc::kContextGap;
  const auto loaded = port_.context_load(oldest->context, Cause::kRefresh);
  if (!loaded && is_dead_context(loaded.error())) {
    // Another user of the chip flushed the session; if kept, the session would be the oldest for ever.
    lose_session(books_, wire::number_of(oldest->handle));
    return rc::kSuccess;
  }
  if (!loaded) return loaded.error();
  if (loaded->value != oldest->handle) return distrust();
  auto context = port_.context_save(loaded->value, Cause::kRefresh);
  if (!context) {  // the session is loaded now; its next eviction saves it again
    oldest->context.clear();
    oldest->seen_at = port_.now();
    return context.error();
  }
  book_saved(*oldest, std::move(*context));
  return rc::kSuccess;
}

void Residency::keep_gap() {
  for (int refreshed = 0; gap() + margin(chip_) >= chip_.context_gap; ++refreshed) {
    const bool last_moment = gap() + kLastMoment >= chip_.context_gap;
    if (refreshed >= kRefreshesPerSave && !last_moment) return;
    if (refreshed > static_cast<int>(chip_.active_sessions)) return;
    if (refresh_oldest() != rc::kSuccess) return;
  }
}

// --- idle work

std::size_t Residency::unwanted() const {
  const auto slots =
      std::count_if(books_.slots.begin(), books_.slots.end(), [](const Slot& slot) { return slot.space.value == 0; });
  return books_.unwanted_sessions.size() + static_cast<std::size_t>(slots);
}

void Residency::flush_unwanted_objects() {
  for (std::size_t i = 0; i < books_.slots.size() && !port_.cost().tpm_lost;) {
    if (books_.slots[i].space.value != 0 || empty_slot(i, Cause::kFlush) != rc::kSuccess) ++i;
  }
}

Rc Residency::flush_unwanted_session_of(std::uint32_t number, Cause cause) {
  const auto& sessions = books_.unwanted_sessions;
  const auto it = std::find_if(sessions.begin(), sessions.end(), [&](const UnwantedSession& session) {
    return wire::number_of(session.handle) == number;
  });
  if (it == sessions.end()) return rc::kSuccess;  // the session was flushed to keep the context gap open
  return flush_unwanted_session_at(static_cast<std::size_t>(it - sessions.begin()), cause);
}

// Flushes any unwanted session.
bool Residency::flush_unwanted_session() {
  for (std::size_t i = 0; i < books_.unwanted_sessions.size(); ++i) {
    const Rc code = flush_unwanted_session_at(i, Cause::kFlush);
    if (!is_for_another_try(code)) return code == rc::kSuccess;
  }
  return false;
}

// Only the TPM knows whether a saved context from before the reset is still valid. If not, the number may belong to any
// session now: on a chip with other users, the number is left alone.
bool Residency::check_doubtful_session() {
  const auto found = std::find_if(books_.sessions.begin(), books_.sessions.end(), [&](const auto& entry) {
    return !entry.second.loaded() && is_doubtful(books_, entry.second);
  });
  if (found == books_.sessions.end()) return false;
  if (loaded_sessions(books_) >= chip_.loaded_sessions) return evict_session() == rc::kSuccess;
  const std::uint32_t number = found->first;
  const Rc code = load_session(number);
  Session* session = code == rc::kSuccess ? find_session(books_, number) : nullptr;
  if (session != nullptr) (void)save_session(*session);
  if (is_dead_context(code)) drop_dead_session(number);
  return code == rc::kSuccess || is_dead_context(code);
}

bool Residency::check_doubtful_object() {
  for (const auto& [id, space] : books_.spaces)
    for (const auto& [number, object] : space.objects) {
      const wire::ClientHandle handle{number};
      if (!is_doubtful(books_, object) || slot_of(books_, id, handle) != nullptr) continue;
      if (books_.slots.size() >= chip_.object_slots) return evict_object() == rc::kSuccess;
      if (is_dead_context(load_object(id, handle).code())) erase_object(books_, id, handle);
      return true;
    }
  return false;
}

void Residency::drop_dead_session(std::uint32_t number) {
  const auto found = books_.sessions.find(number);
  if (found == books_.sessions.end()) return;
  if (chip_.keep_free_sessions == 0)
    make_unwanted(books_, number);
  else if (is_doubtful(books_, found->second))
    books_.sessions.erase(found);  // after a reset, a private TPM would not know the session any more
  else
    lose_session(books_, number);
}

// An entity that could not be flushed is tried again after all others, and does not delay entities of the other kind.
bool Residency::tidy() {
  auto& sessions = books_.unwanted_sessions;
  if (!sessions.empty()) {
    if (flush_unwanted_session_at(0, Cause::kFlush) == rc::kSuccess) return true;
    std::rotate(sessions.begin(), sessions.begin() + 1, sessions.end());
  }
  auto& slots = books_.slots;
  const auto unwanted =
      std::find_if(slots.begin(), slots.end(), [](const Slot& slot) { return slot.space.value == 0; });
  if (unwanted != slots.end()) {
    if (empty_slot(static_cast<std::size_t>(unwanted - slots.begin()), Cause::kFlush) != rc::kSuccess)
      std::rotate(unwanted, unwanted + 1, slots.end());
    return true;
  }
  if (books_.doubted_at != 0 && (check_doubtful_session() || check_doubtful_object())) return true;
  // Never so early that a chip full of saved sessions would be refreshed all the time.
  const std::uint64_t half = std::max<std::uint64_t>(chip_.context_gap / 2, 2ULL * chip_.active_sessions);
  if (gap() > half && loaded_sessions(books_) < chip_.loaded_sessions && refresh_oldest() == rc::kSuccess) return true;
  return !port_.cost().tpm.empty();  // a flush was tried
}

bool Residency::put_away() {
  pin(0);
  if (!books_.slots.empty()) return evict_object() == rc::kSuccess;
  if (loaded_sessions(books_) > 0) return evict_session() == rc::kSuccess;
  return false;
}

// The slot that is unused for longest. Null: none.
const Slot* Residency::slot_without_copy() const {
  const Slot* found = nullptr;
  std::uint64_t seen_at = 0;
  for (const Slot& slot : books_.slots) {
    const Object* object = object_in(books_, slot);
    if (object == nullptr || object->sequence || !object->context.empty()) continue;
    if (found != nullptr && object->seen_at >= seen_at) continue;
    found = &slot;
    seen_at = object->seen_at;
  }
  return found;
}

Session* Residency::loaded_session_that_may_leave() const {
  Session* found = nullptr;
  for (auto& [number, session] : books_.sessions) {
    if (!session.loaded() || session.reserved || session.awaited) continue;
    if (found == nullptr || session.seen_at < found->seen_at) found = &session;
  }
  return found;
}

std::optional<Rc> Residency::save_unused(const Unused& what) {
  const auto due = [now = port_.now()](std::optional<std::uint64_t> used, std::uint64_t span) {
    return used && *used <= now && now - *used >= span;
  };
  const NextUnused next = next_unused();
  if (due(next.object, what.object_for)) return save_copy(*slot_without_copy());
  if (due(next.session, what.session_for)) return save_session(*loaded_session_that_may_leave());
  return std::nullopt;
}

Residency::NextUnused Residency::next_unused() const {
  NextUnused out;
  const Slot* slot = slot_without_copy();
  if (const Object* object = slot == nullptr ? nullptr : object_in(books_, *slot)) out.object = object->seen_at;
  if (const Session* session = loaded_session_that_may_leave()) out.session = session->seen_at;
  return out;
}

void Residency::restore_free_places() {
  pin(0);
  if (chip_.keep_free_objects > 0) (void)make_object_room(std::min(chip_.keep_free_objects, chip_.object_slots));
  if (chip_.keep_free_sessions > 0) (void)make_session_room(std::min(chip_.keep_free_sessions, chip_.loaded_sessions));
}

}  // namespace tpmspace::space
