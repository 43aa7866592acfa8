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
  const auto at = book.number_at(first_came());
  if (!at || *at > now) return std::nullopt;
  const auto turn_of = [&](const Guest& guest) {
    const auto turn = last_turn_.find(guest.owner);
    return turn == last_turn_.end() ? 0 : turn->second;
  };
  return std::min_element(guests_.begin(), guests_.end(),
                          [&](const Guest& one, const Guest& other) { return turn_of(one) < turn_of(other); })
      ->id;  // the first of them: who came first
}

void NumberLine::served(Id id) {
  const Guest* guest = find(id);
  if (guest == nullptr) return;
  last_turn_[guest->owner] = ++turns_;  // bounded by those that are in the line
  remove(id);
}

std::uint64_t NumberLine::look_again(const SessionBook& book) const {
  std::uint64_t out = UINT64_MAX;
  for (const Guest& guest : guests_) out = std::min(out, guest.deadline);
  const auto at = book.number_at(first_came());
  return at ? std::min(out, *at) : out;
}

}  // namespace tpmspace::space
