#include "space/waiting_line.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tpmspace::space {

bool WaitingLine::remove(Id id) {
  return std::erase_if(guests_, [&](const Guest& guest) { return guest.id == id; }) != 0;
}

std::optional<WaitingLine::Id> WaitingLine::expired(std::uint64_t now) const {
  for (const Guest& guest : guests_)
    if (guest.deadline <= now) return guest.id;
  return std::nullopt;
}

std::vector<Waiter> WaitingLine::waiters(const Guest& first) const {
  std::vector<Waiter> out{first.waiter};
  for (const Guest& guest : guests_)
    if (guest.id != first.id) out.push_back(guest.waiter);
  return out;
}

std::vector<const WaitingLine::Guest*> WaitingLine::one_of_each_owner() const {
  std::vector<const Guest*> out;
  for (const Guest& guest : guests_) {
    const bool known = std::any_of(out.begin(), out.end(),
                                   [&](const Guest* other) { return other->waiter.owner == guest.waiter.owner; });
    if (!known) out.push_back(&guest);
  }
  return out;
}

std::optional<WaitingLine::Id> WaitingLine::next(const Books& books, const Chip& chip, const SessionBook& book,
                                                 std::uint64_t now) const {
  if (guests_.empty()) return std::nullopt;
  const FairShares shares(books, chip, waiters(guests_.front()));
  const bool taking_for_somebody = taking(books, chip, now).number.has_value();
  using Rank = std::tuple<bool, int, std::uint64_t, std::uint64_t>;
  const auto rank = [&](const Guest& guest) -> Rank {
    const std::uint32_t held = book.held_by(guest.waiter.space);
    const std::uint32_t claim = books.spaces.at(guest.waiter.space).limits.terms.claim;
    const bool aged = now >= guest.waiter.since + (guest.deadline - guest.waiter.since) / 2;
    const bool finishing = held > 0 && held < claim;
    const int kind = finishing || (aged && held == 0) ? 0 : held == 0 ? 1 : 2;
    const auto turn = last_turn_.find(guest.waiter.owner);
    return {shares.is_above(guest.waiter.owner), kind, turn == last_turn_.end() ? 0 : turn->second, guest.waiter.since};
  };
  std::vector<std::pair<Rank, const Guest*>> order;
  for (const Guest& guest : guests_) order.emplace_back(rank(guest), &guest);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [place, guest] : order) {
    if (taking_for_somebody && std::get<0>(place)) return std::nullopt;
    if (book.admission(guest->waiter.space) != SessionBook::Admission::kNotNow) return guest->id;
  }
  return std::nullopt;
}

void WaitingLine::served(Id id) {
  const auto guest = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& g) { return g.id == id; });
  if (guest == guests_.end()) return;
  last_turn_[guest->waiter.owner] = ++turns_;
  guests_.erase(guest);
  // Turns are counted among those that wait.
  if (guests_.empty()) last_turn_.clear();
}

Taking WaitingLine::taking(const Books& books, const Chip& chip, std::uint64_t now) const {
  Taking out;
  for (const Guest& guest : guests_) out.at = std::min(out.at.value_or(guest.deadline), guest.deadline);
  for (const Guest* guest : one_of_each_owner()) {
    if (!guest->may_take) continue;
    const Taking one = session_to_take(books, chip, waiters(*guest), now);
    if (one.number) return one;
    if (one.at) out.at = std::min(*out.at, *one.at);
  }
  return out;
}

}  // namespace tpmspace::space
