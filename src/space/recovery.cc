#include "space/recovery.h"

#include <algorithm>
#include <set>
#include <vector>

namespace tpmspace::space {

using wire::Cause;
using wire::Hierarchy;
namespace rc = wire::rc;

namespace {

template <typename Map, typename Predicate>
void erase_if_value(Map& map, Predicate gone) {
  for (auto it = map.begin(); it != map.end();) it = gone(*it) ? map.erase(it) : std::next(it);
}

}  // namespace

bool Recovery::after_power_loss() {
  port_.cost().unpowered = false;
  const auto code = port_.startup_clear();
  if (code != rc::kSuccess && code != rc::kInitialize) {
    port_.cost().unpowered = true;
    return false;
  }
  port_.cost().tpm_was_reset = true;
  if (code == rc::kSuccess)
    after_startup();
  else if (!notice_reset())  // somebody else was quicker
    forget_loaded();
  return true;
}

// Nothing that was loaded survived a Startup that succeeded. What was saved did if it was a restart or a resume: the
// one case in which resetCount stays and restartCount moves. The counters prove nothing else: a Clear sets both to
// zero, and another chip's may be anything.
void Recovery::after_startup() {
  port_.cost().tpm_was_reset = true;
  const auto clocks = port_.read_clock();
  const bool restarted =
      clocks && clocks->reset_count == books_.reset_count && clocks->restart_count == books_.restart_count + 1;
  if (restarted)
    forget_loaded();
  else
    forget_everything();
  if (clocks) book_clocks(*clocks);
}

void Recovery::book_clocks(const TpmPort::Clocks& clocks) {
  books_.reset_count = clocks.reset_count;
  books_.restart_count = clocks.restart_count;
}

bool Recovery::notice_reset() {
  const auto clocks = port_.read_clock();
  if (!clocks) return false;
  const TpmPort::Clocks before{books_.reset_count, books_.restart_count};
  book_clocks(*clocks);
  // Counters that went back were set to zero by a Clear that did not come through us: no reset.
  if (clocks->reset_count < before.reset_count) return false;
  const bool reset = clocks->reset_count != before.reset_count;
  if (!reset && clocks->restart_count == before.restart_count) return false;
  port_.cost().tpm_was_reset = true;
  // After a reset no context loads; after a restart or resume saved ones do (TPM-RULES 16). stClear ones that died
  // with a restart are found when they are needed.
  if (reset)
    forget_everything();
  else
    forget_loaded();
  return true;
}

void Recovery::forget_everything() {
  erase_objects_if(books_, [](auto, auto, const auto&) { return true; });
  books_.sessions.clear();
  forget_parked(books_);
  books_.slots.clear();
  books_.unwanted_sessions.clear();
  books_.newest_sequence = 0;
}

void Recovery::forget_loaded() {
  books_.slots.clear();
  erase_objects_if(books_, [](auto, auto, const Object& object) { return object.context.empty(); });
  erase_if_value(books_.sessions, [](const auto& entry) { return entry.second.loaded(); });
  auto& unwanted = books_.unwanted_sessions;
  unwanted.erase(std::remove_if(unwanted.begin(), unwanted.end(), [](const auto& u) { return u.loaded; }),
                 unwanted.end());
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
    default:  // a command that only this chip has, and that says it may flush many things
      (void)resynchronise();
      return;
  }
}

// What has no context yet does not tell its hierarchy. Saving it does, or shows that it is gone; unlike GetCapability
// it does not end anybody's exclusive audit (TPM-RULES 9).
void Recovery::probe_hierarchies_of_loaded() {
  auto slots = books_.slots;
  for (const auto& slot : slots) {
    if (slot.space.value == 0) continue;
    if (!books_.spaces.at(slot.space).objects.at(slot.object.value).context.empty()) continue;
    auto context = port_.context_save(slot.tpm.value, Cause::kSave);
    if (context) {
      set_context(books_, slot.space, slot.object, std::move(*context));
      continue;
    }
    if (port_.cost().tpm_lost) return;
    erase_object(books_, slot.space, slot.object);
    std::erase_if(books_.slots, [&](const Slot& s) { return s.tpm == slot.tpm; });
  }
}

// The command may have emptied these slots too, and nobody would notice: the next object that gets such a handle would
// be flushed in its place.
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

bool Recovery::resynchronise() {
  if (port_.cost().tpm_lost) return false;
  port_.cost().distrusted = false;
  (void)notice_reset();
  const bool complete = compare_objects() && compare_sessions() && !port_.cost().distrusted;
  books_.in_doubt = !complete;
  return complete;
}

bool Recovery::compare_objects() {
  const auto list = port_.handles(wire::kFirstTransient);
  if (!list) return false;
  const std::set<std::uint32_t> in_tpm(list->begin(), list->end());
  std::erase_if(books_.slots, [&](const Slot& slot) { return in_tpm.count(slot.tpm.value) == 0; });
  erase_objects_if(books_, [&](SpaceId space, wire::ClientHandle handle, const Object& object) {
    return object.context.empty() && slot_of(books_, space, handle) == nullptr;
  });
  // What the TPM holds and no book knows came from a command whose answer we could not read. On a chip that is ours
  // alone nobody will miss it; on a shared one it may be somebody else's.
  if (chip_.keep_free_objects > 0) return true;
  for (const auto handle : *list) {
    const bool known = std::any_of(books_.slots.begin(), books_.slots.end(),
                                   [&](const Slot& slot) { return slot.tpm.value == handle; });
    if (!known && books_.slots.size() < chip_.object_slots)
      books_.slots.push_back(Slot{wire::TpmHandle{handle}, SpaceId{}, wire::ClientHandle{}});
  }
  return true;
}

// A session that the TPM lists and no book knows; no more of them than the TPM can have.
void Recovery::add_unwanted(UnwantedSession session) {
  const auto number = wire::number_of(session.handle);
  if (books_.sessions.count(number) != 0) return;
  for (const auto& known : books_.unwanted_sessions)
    if (wire::number_of(known.handle) == number) return;
  if (books_.sessions.size() + books_.unwanted_sessions.size() >= chip_.active_sessions) return;
  if (session.loaded && loaded_sessions(books_) >= chip_.loaded_sessions) return;
  books_.unwanted_sessions.push_back(session);
}

bool Recovery::compare_sessions() {
  constexpr std::uint32_t kLoadedRange = 0x02000000, kSavedRange = 0x03000000;
  const auto loaded = port_.handles(kLoadedRange);
  const auto saved = port_.handles(kSavedRange);
  if (!loaded || !saved) return false;
  std::set<std::uint32_t> loaded_numbers, saved_numbers;
  for (const auto handle : *loaded) loaded_numbers.insert(wire::number_of(handle));
  for (const auto handle : *saved) saved_numbers.insert(wire::number_of(handle));

  std::vector<std::uint32_t> gone;
  for (auto& [number, session] : books_.sessions) {
    if (loaded_numbers.count(number) != 0) {
      // A copy of what is loaded would be stale. A TPM that lists more than it has places for is not believed.
      if (loaded_sessions(books_) < chip_.loaded_sessions) session.context.clear();
    } else if (session.loaded() || saved_numbers.count(number) == 0) {
      gone.push_back(number);
    }
  }
  for (const std::uint32_t number : gone) lose_session(books_, number);
  std::erase_if(books_.unwanted_sessions, [&](const UnwantedSession& unwanted) {
    const auto number = wire::number_of(unwanted.handle);
    return loaded_numbers.count(number) == 0 && saved_numbers.count(number) == 0;
  });
  if (chip_.keep_free_sessions > 0) return true;
  for (const auto handle : *loaded) add_unwanted(UnwantedSession{handle, true});
  for (const auto handle : *saved) add_unwanted(UnwantedSession{handle, false});
  return true;
}

}  // namespace tpmspace::space
