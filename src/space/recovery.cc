#include "space/recovery.h"

#include <algorithm>
#include <utility>

namespace tpmspace::space {

using wire::Cause;
using wire::Hierarchy;
namespace rc = wire::rc;

namespace {

// For a lost session, the policy at the time of the loss is unknown: only steps that always give the same result are
// safe. A PolicyPCR uses the present PCR values.
bool can_be_made_again_when_lost(const Session& session) {
  const bool depends_on_pcrs = session.kind == SessionKind::kPolicy && session.log.has(wire::cc::kPolicyPCR);
  return session.can_be_made_again() && !depends_on_pcrs;
}

// The counters do not distinguish a Restart, after which contexts of stClear objects do not load, from a Resume. False:
// no stClear object exists.
bool doubt_st_clear_objects(Books& books) {
  bool found = false;
  for (auto& [id, space] : books.spaces)
    for (auto& [handle, object] : space.objects) {
      const auto info = read_context(object.context);
      if (!info || !info->is_st_clear() || slot_of(books, id, wire::ClientHandle{handle})) continue;
      object.seen_at = 0;
      found = true;
    }
  return found;
}

std::optional<TpmPort::Clocks> as_optional(const TpmPort::Result<TpmPort::Clocks>& clocks) {
  return clocks ? std::optional(*clocks) : std::nullopt;
}

}  // namespace

// --- handles

Recovery::HandedOut Recovery::hand_out(wire::TpmHandle handle) {
  const bool possible_number = wire::is_session(handle.value) && wire::number_of(handle.value) < chip_.session_numbers;
  if (!wire::is_transient(handle.value) && !possible_number) {
    port_.cost().distrusted = true;
    return HandedOut::kNotBelieved;
  }
  const bool was_free = !has_in_use(handle);
  auto word = was_free ? std::nullopt : ask();
  if (word && since_last_look(*word) == Restarted::kNo && lists_what_nobody_knows(word->lists)) {
    word->after_doubt = true;
    take_word(*word);
    return HandedOut::kNotBelieved;
  }
  if (!was_free) vacate(handle);
  if (possible_number)
    books_.unwanted_sessions.push_back(UnwantedSession{handle.value, true, 0});
  else
    books_.slots.push_back(Slot{handle, SpaceId{}, wire::ClientHandle{}});
  if (word)
    take_word(*word);
  else
    part_from_lost_sessions(Restarted::kNo);
  // The TPM's list, read after the response, lacks the handle: a start-up in between, another program, or a lie.
  if (!has_in_use(handle)) return HandedOut::kNotBelieved;
  return was_free ? HandedOut::kFree : HandedOut::kBooksWereWrong;
}

bool Recovery::has_in_use(wire::TpmHandle handle) const {
  if (!wire::is_transient(handle.value)) return is_known(handle.value);
  return std::any_of(books_.slots.begin(), books_.slots.end(), [&](const Slot& slot) { return slot.tpm == handle; });
}

void Recovery::vacate(wire::TpmHandle handle) {
  if (wire::is_transient(handle.value))
    vacate_slot(handle);
  else
    vacate_number(wire::number_of(handle.value));
}

void Recovery::vacate_slot(wire::TpmHandle handle) {
  std::erase_if(books_.slots, [&](const Slot& slot) {
    if (slot.tpm != handle) return false;
    if (const Object* object = object_in(books_, slot)) note_gone(object->seen_at);
    return true;
  });
  forget_objects_that_are_nowhere();
}

void Recovery::vacate_number(std::uint32_t number) {
  std::erase_if(books_.unwanted_sessions,
                [&](const UnwantedSession& unwanted) { return wire::number_of(unwanted.handle) == number; });
  const auto found = books_.sessions.find(number);
  if (found == books_.sessions.end()) return;
  note_gone(found->second.seen_at);
  lost_.push_back(std::move(found->second));
  books_.sessions.erase(found);
}

// --- start-ups

bool Recovery::after_power_loss() {
  // The TPM may lose power again during the questions.
  for (int tries = 0; tries < kMaxStartups; ++tries) {
    port_.cost().unpowered = false;
    const auto code = port_.startup_clear();
    if (code == rc::kSuccess) {
      after_startup();
    } else if (code == rc::kInitialize) {  // another program was faster
      const auto clocks = port_.read_clock();
      book_startup(clocks, since_last_look(Word{as_optional(clocks), {}}) != Restarted::kKeptNothing);
    } else {
      port_.cost().unpowered = true;
      return false;
    }
    if (!port_.cost().unpowered) return true;
  }
  return false;
}

// No loaded entity survived. Saved contexts survived a Restart or Resume: the only case in which resetCount stays and
// restartCount moves. The counters prove no more: a Clear sets both to zero, and another chip may have any values.
void Recovery::after_startup() {
  const auto clocks = port_.read_clock();
  book_startup(
      clocks, clocks && clocks->reset_count == books_.reset_count && clocks->restart_count == books_.restart_count + 1);
}

// All loaded entities are gone.
void Recovery::book_startup(const TpmPort::Result<TpmPort::Clocks>& clocks, bool kept_saved) {
  note(kept_saved ? Restarted::kKeptSaved : Restarted::kKeptNothing);
  if (kept_saved)
    forget_loaded();
  else
    forget_everything();
  if (clocks) book_clocks(*clocks);
}

void Recovery::book_clocks(const TpmPort::Clocks& clocks) {
  books_.reset_count = clocks.reset_count;
  books_.restart_count = clocks.restart_count;
  books_.counters_read_at = port_.now();
  gone_after_ = 0;
}

void Recovery::note(Restarted what) {
  Restarted& noted = port_.cost().restarted;
  noted = std::max(noted, what);
}

Recovery::Restarted Recovery::since_last_look(const Word& word) const {
  return word.clocks ? since_last_look(*word.clocks) : Restarted::kNo;
}

Recovery::Restarted Recovery::since_last_look(const TpmPort::Clocks& clocks) const {
  // A Clear by another program set both counters to zero.
  if (clocks.reset_count < books_.reset_count) return Restarted::kNo;
  if (clocks.reset_count > books_.reset_count) return Restarted::kKeptNothing;
  return clocks.restart_count != books_.restart_count ? Restarted::kKeptSaved : Restarted::kNo;
}

void Recovery::note_dead_context(std::uint64_t seen_at) {
  note_gone(seen_at);
  (void)notice_start_up();
}

bool Recovery::notice_start_up() {
  const auto clocks = port_.read_clock();
  if (!clocks || since_last_look(*clocks) == Restarted::kNo) return false;
  (void)resynchronise();
  return true;
}

void Recovery::forget_everything() {
  port_.cost().lost_objects += books_.held.objects;
  port_.cost().lost_sessions += static_cast<std::uint32_t>(books_.sessions.size() + books_.parked_in_all.sessions);
  erase_objects_if(books_, [](auto, auto, const auto&) { return true; });
  books_.sessions.clear();
  lost_.clear();
  forget_parked(books_);
  books_.slots.clear();
  books_.unwanted_sessions.clear();
  books_.newest_sequence = 0;
}

void Recovery::forget_loaded() {
  books_.slots.clear();
  forget_objects_that_are_nowhere();
  lose_sessions([](std::uint32_t, const Session& session) { return session.loaded(); });
  part_from_lost_sessions(Restarted::kKeptSaved);
  std::erase_if(books_.unwanted_sessions, [](const UnwantedSession& unwanted) { return unwanted.loaded; });
}

void Recovery::forget_objects_that_are_nowhere() {
  erase_objects_if(books_, [&](SpaceId space, wire::ClientHandle handle, const Object& object) {
    const bool nowhere = object.context.empty() && slot_of(books_, space, handle) == nullptr;
    if (nowhere) ++port_.cost().lost_objects;
    return nowhere;
  });
}

// --- broken invariants

void Recovery::after_broken_invariant(std::optional<SpaceId> space) {
  make_consistent(books_);
  lost_.clear();
  books_.in_doubt = true;
  (void)resynchronise();
  if (!check(books_, chip_)) return;
  if (space && find_space(books_, *space) != nullptr) {
    const bool was_given_up = space_of(books_, *space).given_up;
    empty_space(books_, *space);
    make_consistent(books_);
    if (!check(books_, chip_)) return;
    space_of(books_, *space).given_up = was_given_up;  // this space was not the cause
  }
  forget_all_clients_entities();
}

// No client has anything any more. Idle work finds the entities in the TPM.
void Recovery::forget_all_clients_entities() {
  for (auto& [id, space] : books_.spaces) {
    space.objects.clear();
    space.taken_objects.clear();
    space.tombstones.clear();
  }
  make_consistent(books_);
  forget_everything();
  books_.in_doubt = true;
}

// --- emptied hierarchies

void Recovery::after_extensive(const wire::Command& command) {
  wire::Reader parameters(command.parameters());
  switch (command.row().effect) {
    case wire::Effect::kClear:
      book_clocks({0, 0});  // Part 3, 24.6: Clear sets both counters to zero
      return drop_hierarchies({Hierarchy::kOwner, Hierarchy::kEndorsement});
    case wire::Effect::kChangeEps:
      return drop_hierarchies({Hierarchy::kEndorsement});
    case wire::Effect::kChangePps:
      return drop_hierarchies({Hierarchy::kPlatform});
    case wire::Effect::kHierarchyControl: {
      // enable (TPMI_RH_ENABLES), state (TPMI_YES_NO). Switching on, or NV only, removes nothing.
      const auto enable = parameters.u32();
      const auto state = parameters.u8();
      if (enable && state && *state == 0) drop_hierarchies({static_cast<Hierarchy>(*enable)});
      return;
    }
    default:  // a command that only this chip has, with the attribute extensive
      (void)resynchronise();
      return;
  }
}

// An object without a context does not show its hierarchy. Saving the object shows the hierarchy, or that the object is
// gone. Unlike GetCapability, saving does not end a client's exclusive audit (docs/tpm-behaviour.md 9).
void Recovery::probe_hierarchies_of_loaded() {
  auto slots = books_.slots;
  for (const auto& slot : slots) {
    Object* object = object_in(books_, slot);
    if (object == nullptr || !object->context.empty()) continue;
    auto context = port_.context_save(slot.tpm.value, Cause::kSave);
    if (context) {
      (void)set_context(books_, slot.space, slot.object, std::move(*context));
      object->seen_at = port_.now();
      continue;
    }
    if (port_.cost().tpm_lost) return;
    erase_object(books_, slot.space, slot.object);
    std::erase_if(books_.slots, [&](const Slot& s) { return s.tpm == slot.tpm; });
  }
}

// The command may have emptied these slots too, unnoticed: the next object with such a handle would then be flushed by
// mistake.
void Recovery::flush_unwanted_slots() {
  std::erase_if(books_.slots, [this](const Slot& slot) {
    if (slot.space.value != 0 || port_.cost().tpm_lost) return false;
    (void)port_.flush(slot.tpm.value, Cause::kFlush);
    return !port_.cost().tpm_lost;
  });
}

void Recovery::drop_hierarchies(std::initializer_list<Hierarchy> hierarchies) {
  flush_unwanted_slots();
  probe_hierarchies_of_loaded();
  const auto emptied = [&](const Object& object) {
    const auto info = read_context(object.context);
    return info && std::any_of(hierarchies.begin(), hierarchies.end(),
                               [&](Hierarchy h) { return static_cast<std::uint32_t>(h) == info->hierarchy; });
  };
  erase_objects_if(books_, [&](SpaceId space, wire::ClientHandle handle, const Object& object) {
    if (!emptied(object)) return false;
    std::erase_if(books_.slots, [&](const Slot& slot) { return slot.space == space && slot.object == handle; });
    return true;
  });
}

// --- taking the TPM's word

std::optional<Recovery::Lists> Recovery::read_lists() {
  constexpr std::uint32_t kLoadedRange = 0x02000000, kSavedRange = 0x03000000;
  auto objects = port_.handles(wire::kFirstTransient);
  auto loaded = objects ? port_.handles(kLoadedRange) : objects;
  auto saved = loaded ? port_.handles(kSavedRange) : loaded;
  if (!saved) return std::nullopt;
  Lists out{std::move(*objects), std::move(*loaded), std::move(*saved), {}, {}};
  for (const auto handle : out.loaded) out.loaded_numbers.insert(wire::number_of(handle));
  for (const auto handle : out.saved) out.saved_numbers.insert(wire::number_of(handle));
  return out;
}

// All answers are collected before the first is booked: otherwise the counters' information would be lost if a list
// cannot be read.
std::optional<Recovery::Word> Recovery::ask() {
  const bool after_doubt = books_.in_doubt || port_.cost().distrusted;
  books_.in_doubt = true;
  if (port_.cost().tpm_lost) return std::nullopt;
  port_.cost().distrusted = false;
  const auto clocks = port_.read_clock();
  auto lists = read_lists();
  if (!lists || port_.cost().distrusted) return std::nullopt;
  books_.in_doubt = false;
  return Word{as_optional(clocks), std::move(*lists), after_doubt};
}

bool Recovery::resynchronise() {
  const auto word = ask();
  if (word) take_word(*word);
  return word.has_value();
}

void Recovery::take_word(const Word& word) {
  const Restarted restarted = since_last_look(word);
  note(restarted);
  compare(word, restarted);
  if (word.clocks) book_clocks(*word.clocks);
}

bool Recovery::lists_what_nobody_knows(const Lists& lists) const {
  const auto is_unknown = [&](std::uint32_t handle) { return !has_in_use(wire::TpmHandle{handle}); };
  return std::any_of(lists.objects.begin(), lists.objects.end(), is_unknown) ||
         std::any_of(lists.loaded.begin(), lists.loaded.end(),
                     [&](std::uint32_t handle) { return is_unknown(handle) && !was_there_before_us(handle); });
}

bool Recovery::was_there_before_us(std::uint32_t session) const {
  const auto& others = chip_.others_loaded_sessions;
  return std::find(others.begin(), others.end(), session) != others.end();
}

void Recovery::compare(const Word& word, Restarted restarted) {
  const Lists& lists = word.lists;
  // After a possible reset, no other event ended loaded entities and kept saved contexts.
  const bool only_reset = word.clocks && word.clocks->restart_count == 0;
  note_what_is_missing(lists);
  note_gone(books_.counters_read_at);
  const Ends ends{gone_after_, only_reset ? gone_after_ : books_.counters_read_at};
  compare_objects(lists, restarted, ends);
  compare_sessions(word, restarted, ends);
  part_from_lost_sessions(restarted);
  if (restarted == Restarted::kKeptSaved && doubt_st_clear_objects(books_))
    books_.doubted_at = std::max<std::uint64_t>(books_.doubted_at, 1);
  if (restarted == Restarted::kKeptNothing) {
    port_.cost().lost_sessions += books_.parked_in_all.sessions;
    forget_parked(books_);
    books_.newest_sequence = 0;
    for (const auto& [number, session] : books_.sessions)
      books_.newest_sequence = std::max(books_.newest_sequence, session.sequence);
    books_.doubted_at = port_.now();
  }
}

void Recovery::note_what_is_missing(const Lists& lists) {
  const std::set<std::uint32_t> in_tpm(lists.objects.begin(), lists.objects.end());
  for (const Slot& slot : books_.slots) {
    const Object* object = in_tpm.count(slot.tpm.value) == 0 ? object_in(books_, slot) : nullptr;
    if (object != nullptr) note_gone(object->seen_at);
  }
  for (const auto& [number, session] : books_.sessions) {
    const bool listed =
        lists.loaded_numbers.count(number) != 0 || (!session.loaded() && lists.saved_numbers.count(number) != 0);
    if (!listed) note_gone(session.seen_at);
  }
}

// After a start-up, a listed handle of an older entity names a different entity.
void Recovery::compare_objects(const Lists& lists, Restarted restarted, const Ends& ends) {
  const std::set<std::uint32_t> in_tpm(lists.objects.begin(), lists.objects.end());
  std::erase_if(books_.slots, [&](const Slot& slot) {
    if (in_tpm.count(slot.tpm.value) == 0) return true;
    if (slot.space.value == 0 || restarted == Restarted::kNo) return false;
    const Object* object = object_in(books_, slot);
    return object == nullptr || object->seen_at < ends.loaded;
  });
  forget_objects_that_are_nowhere();
  if (restarted == Restarted::kKeptNothing)
    erase_objects_if(books_, [&](auto, auto, const Object& object) {
      if (object.seen_at >= ends.saved) return false;
      ++port_.cost().lost_objects;
      return true;
    });
  // An object that the TPM has and no book knows came from a command with an unreadable response, or was left by an
  // earlier program. No other user keeps an object in a shared TPM (docs/tpm-behaviour.md 35, and bring_up flushes such
  // objects as well).
  for (const auto handle : in_tpm)
    if (!has_in_use(wire::TpmHandle{handle}) && books_.slots.size() < chip_.object_slots)
      books_.slots.push_back(Slot{wire::TpmHandle{handle}, SpaceId{}, wire::ClientHandle{}});
}

bool Recovery::is_known(std::uint32_t session) const {
  const auto number = wire::number_of(session);
  return books_.sessions.count(number) != 0 ||
         std::any_of(books_.unwanted_sessions.begin(), books_.unwanted_sessions.end(),
                     [&](const UnwantedSession& known) { return wire::number_of(known.handle) == number; });
}

// Adds a session that the TPM lists and no book knows; at most as many as the TPM can have.
void Recovery::add_unwanted(const UnwantedSession& session) {
  if (is_known(session.handle)) return;
  if (books_.sessions.size() + books_.unwanted_sessions.size() >= chip_.active_sessions) return;
  if (session.loaded && loaded_sessions(books_) >= chip_.loaded_sessions) return;
  books_.unwanted_sessions.push_back(session);
}

void Recovery::compare_sessions(const Word& word, Restarted restarted, const Ends& ends) {
  const Lists& lists = word.lists;
  lose_sessions([&](std::uint32_t number, const Session& session) {
    if (lists.loaded_numbers.count(number) != 0) return restarted != Restarted::kNo && session.seen_at < ends.loaded;
    const bool is_saved = !session.loaded() && lists.saved_numbers.count(number) != 0;
    return !is_saved || (restarted == Restarted::kKeptNothing && session.seen_at < ends.saved);
  });
  // The copy of a loaded session would be stale. A TPM that lists more loaded sessions than it has slots is not
  // credible.
  for (auto& [number, session] : books_.sessions)
    if (lists.loaded_numbers.count(number) != 0 && loaded_sessions(books_) < chip_.loaded_sessions)
      session.context.clear();
  std::erase_if(books_.unwanted_sessions, [&](const UnwantedSession& unwanted) {
    const auto number = wire::number_of(unwanted.handle);
    return lists.loaded_numbers.count(number) == 0 && lists.saved_numbers.count(number) == 0;
  });
  if (chip_.keep_free_sessions == 0) {
    for (const auto handle : lists.loaded) add_unwanted(UnwantedSession{handle, true});
    for (const auto handle : lists.saved) add_unwanted(UnwantedSession{handle, false});
  } else if (word.after_doubt) {
    add_what_was_ours(word, restarted);
  }
}

// On a TPM with other users, an unknown session is ours if its response was unreadable. Such a session is loaded: the
// kernel saves the sessions of its own users after each of their commands (docs/tpm-behaviour.md 35). A saved session
// is ours if the books have just lost it, and the TPM was surely not started up meanwhile.
void Recovery::add_what_was_ours(const Word& word, Restarted restarted) {
  for (const auto handle : word.lists.loaded)
    if (restarted != Restarted::kNo || !was_there_before_us(handle)) add_unwanted(UnwantedSession{handle, true});
  if (restarted != Restarted::kNo || !word.clocks) return;
  for (const auto handle : word.lists.saved)
    if (std::any_of(lost_.begin(), lost_.end(),
                    [&](const Session& lost) { return wire::number_of(lost.handle) == wire::number_of(handle); }))
      add_unwanted(UnwantedSession{handle, false});
}

// Rebuildable sessions are rebuilt at the next use. After a start-up a private TPM would not know the other sessions
// any more. Without a start-up, the numbers of the other sessions become tombstones until the clients know.
void Recovery::part_from_lost_sessions(Restarted restarted) {
  for (Session& session : lost_) {
    if (restarted != Restarted::kKeptNothing && can_be_made_again_when_lost(session)) {
      session.context.clear();
      session.sequence = 0;
      session.awaited = false;
      session.log.digest.clear();
      (void)add_parked(books_, std::move(session));
      continue;
    }
    ++port_.cost().lost_sessions;
    if (restarted == Restarted::kNo) add_tombstone(books_, session);
  }
  lost_.clear();
}

}  // namespace tpmspace::space
