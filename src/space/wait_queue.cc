#include "space/wait_queue.h"

#include <algorithm>

#include "base/invariant.h"
#include "books/time.h"

namespace tpmspace::space {

namespace {

// The indices belong to one queue and change together. With a wrong index, a client's command could run in the turn of
// another client's, so a missing entry ends the process.
template <typename Map, typename Key>
auto& entry_of(Map& map, const Key& key) {
  const auto found = map.find(key);
  TPMSPACE_ASSERT(found != map.end());
  return found->second;
}

template <typename Map, typename Key, typename Value>
void erase_from(Map& sets, const Key& key, const Value& value) {
  const auto found = sets.find(key);
  TPMSPACE_ASSERT(found != sets.end());
  found->second.erase(value);
  if (found->second.empty()) sets.erase(found);
}

}  // namespace

void WaitQueue::add(const Guest& guest) {
  TPMSPACE_ASSERT(arrivals_.count(guest.id) == 0);
  const Arrival arrival = ++last_arrival_;
  now_ = std::max(now_, guest.since);
  const auto [entry, is_new] = owners_.try_emplace(guest.owner);
  Owner& owner = entry->second;
  if (is_new) {
    owner.clock = guest.since;
    const auto turn = last_turn_.find(guest.owner);
    if (turn != last_turn_.end()) owner.turn = turn->second;
  } else {
    take_out(*entry);
  }
  guests_.emplace(arrival, guest);
  arrivals_.emplace(guest.id, arrival);
  kinds_[guest.kind].insert(arrival);
  spaces_[guest.space].insert(arrival);
  owner.guests.emplace(arrival, guest.kind);
  owner.by_kind[guest.kind].insert(arrival);
  owner.by_deadline.emplace(guest.deadline, arrival);
  file(*entry);
}

void WaitQueue::erase(const Guest& guest) {
  const Arrival arrival = entry_of(arrivals_, guest.id);
  Owner& owner = entry_of(owners_, guest.owner);
  erase_from(kinds_, guest.kind, arrival);
  erase_from(spaces_, guest.space, arrival);
  erase_from(owner.by_kind, guest.kind, arrival);
  owner.guests.erase(arrival);
  owner.by_deadline.erase({guest.deadline, arrival});
  arrivals_.erase(guest.id);
  guests_.erase(arrival);
}

// Turns count only among waiting owners: when no guest is left, all turns are forgotten.
void WaitQueue::drop_owner_without_guests(Owners::iterator entry) {
  if (entry->second.guests.empty())
    owners_.erase(entry);
  else
    file(*entry);
  if (!guests_.empty()) return;
  last_turn_.clear();
  by_turn_.clear();
}

bool WaitQueue::remove(Id id) {
  const Guest* guest = find(id);
  if (guest == nullptr) return false;
  const auto entry = owners_.find(guest->owner);
  TPMSPACE_ASSERT(entry != owners_.end());
  take_out(*entry);
  // A notification of a passed deadline is a turn, too.
  if (guest->deadline <= now_) entry->second.late_turn = ++turns_;
  erase(*guest);
  drop_owner_without_guests(entry);
  return true;
}

void WaitQueue::served(Id id, std::uint64_t now) {
  const Guest* guest = find(id);
  if (guest == nullptr) return;
  const auto entry = owners_.find(guest->owner);
  TPMSPACE_ASSERT(entry != owners_.end());
  take_out(*entry);
  entry->second.clock = now;
  entry->second.turn = ++turns_;
  note_turn(entry->first, turns_);
  erase(*guest);
  drop_owner_without_guests(entry);
}

void WaitQueue::note_turn(OwnerId owner, std::uint64_t turn) {
  if (const auto known = last_turn_.find(owner); known != last_turn_.end()) by_turn_.erase(known->second);
  last_turn_[owner] = turn;
  by_turn_[turn] = owner;
  if (by_turn_.size() <= kMostTurns) return;
  last_turn_.erase(by_turn_.begin()->second);
  by_turn_.erase(by_turn_.begin());
}

void WaitQueue::change(Id id, const Kind& kind, std::uint64_t tenure, bool may_take) {
  const auto found = arrivals_.find(id);
  if (found == arrivals_.end()) return;
  const Arrival arrival = found->second;
  Guest& guest = entry_of(guests_, arrival);
  const auto entry = owners_.find(guest.owner);
  TPMSPACE_ASSERT(entry != owners_.end());
  take_out(*entry);
  erase_from(kinds_, guest.kind, arrival);
  erase_from(entry->second.by_kind, guest.kind, arrival);
  guest.kind = kind;
  guest.tenure = tenure;
  guest.may_take = may_take;
  kinds_[kind].insert(arrival);
  entry->second.by_kind[kind].insert(arrival);
  entry->second.guests[arrival] = kind;
  file(*entry);
}

std::uint64_t WaitQueue::ages_at(const Guest& guest) {
  return guest.kind.patience == kNever ? kNever : after(guest.since, guest.kind.patience / 2);
}

void WaitQueue::advance(std::uint64_t now) {
  now_ = std::max(now_, now);
  while (!alarms_.empty() && alarms_.begin()->first <= now_) {
    const auto entry = owners_.find(alarms_.begin()->second);
    TPMSPACE_ASSERT(entry != owners_.end());
    take_out(*entry);
    file(*entry);
  }
}

std::optional<WaitQueue::Id> WaitQueue::late() const {
  if (late_.empty()) return std::nullopt;
  return at(entry_of(owners_, late_.begin()->second).by_deadline.begin()->second).id;
}

const WaitQueue::Guest* WaitQueue::find(Id id) const {
  const auto arrival = arrivals_.find(id);
  return arrival == arrivals_.end() ? nullptr : &at(arrival->second);
}

const WaitQueue::Guest& WaitQueue::at(Arrival arrival) const {
  return entry_of(guests_, arrival);
}

const WaitQueue::Guest& WaitQueue::first_of(const Kind& kind) const {
  return at(*entry_of(kinds_, kind).begin());
}

const WaitQueue::Owner* WaitQueue::owner(OwnerId id) const {
  const auto found = owners_.find(id);
  return found == owners_.end() ? nullptr : &found->second;
}

const std::set<WaitQueue::Arrival>& WaitQueue::of(SpaceId space) const {
  static const std::set<Arrival> kNobody;
  const auto found = spaces_.find(space);
  return found == spaces_.end() ? kNobody : found->second;
}

void WaitQueue::take_out(Owners::reference entry) {
  auto& [id, owner] = entry;
  ++filed_;
  for (const auto& [shelf, head] : owner.heads) erase_from(shelves_, shelf, head);
  owner.heads.clear();
  if (owner.alarm != kNever) alarms_.erase({owner.alarm, id});
  if (owner.filed_clock != kNever) erase_from(by_clock_, owner.filed_kind, std::pair(owner.filed_clock, id));
  if (owner.late) late_.erase({owner.late_turn, id});
  if (owner.tenured) tenured_.erase(id);
}

void WaitQueue::file(Owners::reference entry) {
  auto& [id, owner] = entry;
  owner.alarm = kNever;
  const Guest& first = first_of(owner);
  const std::uint64_t tenured_at = after(owner.clock, first.tenure), deadline = owner.by_deadline.begin()->first;
  owner.tenured = tenured_at <= now_;
  owner.late = deadline <= now_;
  if (owner.tenured)
    tenured_.insert(id);
  else
    owner.alarm = tenured_at;
  if (owner.late)
    late_.emplace(owner.late_turn, id);
  else
    owner.alarm = std::min(owner.alarm, deadline);
  file_heads(entry);
  if (owner.alarm != kNever) alarms_.emplace(owner.alarm, id);
  owner.filed_clock = first.may_take ? owner.clock : kNever;
  owner.filed_kind = first.kind;
  if (first.may_take) by_clock_[first.kind].emplace(owner.clock, id);
}

void WaitQueue::file_heads(Owners::reference entry) {
  auto& [id, owner] = entry;
  for (const auto& [kind, arrivals] : owner.by_kind) {
    const Arrival arrival = *arrivals.begin();
    const std::uint64_t time = ages_at(at(arrival));
    const bool aged = time <= now_;
    if (!aged) owner.alarm = std::min(owner.alarm, time);
    const auto& filed = owner.heads.emplace_back(Shelf{kind, owner.tenured, aged}, Head{owner.turn, arrival, id});
    shelves_[filed.first].insert(filed.second);
  }
}

}  // namespace tpmspace::space
