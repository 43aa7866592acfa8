#include "space/number_line.h"

#include <algorithm>
#include <utility>

namespace tpmspace::space {

bool NumberLine::remove(Id id) {
  const auto removed = std::erase_if(guests_, [id](const Guest& guest) { return guest.id == id; });
  if (guests_.empty()) last_turn_.clear();
  return removed > 0;
}

const NumberLine::Guest* NumberLine::find(Id id) const {
  const auto it = std::find_if(guests_.begin(), guests_.end(), [id](const Guest& guest) { return guest.id == id; });
  return it == guests_.end() ? nullptr : &*it;
}

std::optional<NumberLine::Id> NumberLine::expired(std::uint64_t now) const {
  for (const Guest& guest : guests_)
    if (guest.deadline <= now) return guest.id;
  return std::nullopt;
}

std::optional<NumberLine::Id> NumberLine::next(const SessionBook& book, std::uint64_t now) const {
  if (guests_.empty()) return std::nullopt;
  const auto any_at = book.number_at(guests_.front().since, std::nullopt);  // who came first
  const auto may_go = [&](const Guest& guest) {
    const auto at = guest.number ? book.number_at(guest.since, guest.number) : any_at;
    return at && *at <= now;
  };
  const auto turn_of = [&](const Guest& guest) {
    const auto turn = last_turn_.find(guest.owner);
    return turn == last_turn_.end() ? 0 : turn->second;
  };
  const Guest* first = nullptr;
  for (const Guest& guest : guests_)
    if (may_go(guest) && (first == nullptr || turn_of(guest) < turn_of(*first))) first = &guest;
  return first == nullptr ? std::nullopt : std::optional(first->id);
}

void NumberLine::served(Id id) {
  const Guest* guest = find(id);
  if (guest == nullptr) return;
  last_turn_[guest->owner] = ++turns_;  // bounded by those that are in the line
  remove(id);
}

std::uint64_t NumberLine::look_again(const SessionBook& book) const {
  std::uint64_t out = UINT64_MAX;
  const auto any_at = book.number_at(guests_.front().since, std::nullopt);
  for (const Guest& guest : guests_) {
    const auto at = guest.number ? book.number_at(guest.since, guest.number) : any_at;
    out = std::min({out, guest.deadline, at.value_or(UINT64_MAX)});
  }
  return out;
}

}  // namespace tpmspace::space
