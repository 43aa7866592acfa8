#include "space/waiting_line.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tpmspace::space {

void WaitingLine::add(const Guest& guest) {
  guests_.push_back(guest);
  clocks_.try_emplace(guest.waiter.owner, guest.waiter.since);
}

// Whoever waits no more has no clock; and turns are counted among those that wait.
void WaitingLine::forget_clock_of(OwnerId owner) {
  const bool waits =
      std::any_of(guests_.begin(), guests_.end(), [&](const Guest& guest) { return guest.waiter.owner == owner; });
  if (!waits) clocks_.erase(owner);
  if (guests_.empty()) last_turn_.clear();
}

bool WaitingLine::remove(Id id) {
  const auto guest = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& g) { return g.id == id; });
  if (guest == guests_.end()) return false;
  const OwnerId owner = guest->waiter.owner;
  guests_.erase(guest);
  forget_clock_of(owner);
  return true;
}

void WaitingLine::served(Id id, std::uint64_t now) {
  const auto guest = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& g) { return g.id == id; });
  if (guest == guests_.end()) return;
  const OwnerId owner = guest->waiter.owner;
  guests_.erase(guest);
  last_turn_[owner] = ++turns_;
  clocks_[owner] = now;
  forget_clock_of(owner);
}

bool WaitingLine::tenured(const Books& books, const Guest& guest, std::uint64_t now) const {
  const std::uint64_t waited = now - clocks_.at(guest.waiter.owner);
  return waited >= books.spaces.at(guest.waiter.space).limits.terms.tenure;
}

std::optional<WaitingLine::Id> WaitingLine::expired(std::uint64_t now) const {
  for (const Guest& guest : guests_)
    if (guest.deadline <= now) return guest.id;
  return std::nullopt;
}

std::vector<Waiter> WaitingLine::waiters(const Guest& first) const {
  std::vector<Waiter> out{first.waiter};
  for (const Guest* guest : one_of_each_owner())
    if (guest->waiter.owner != first.waiter.owner) out.push_back(guest->waiter);
  for (Waiter& waiter : out) waiter.since = clocks_.at(waiter.owner);
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
  const FairShares shares(books, chip, waiters(guests_.front()),
                          books.spaces.at(guests_.front().waiter.space).limits.terms.claim);
  const auto of_owners = one_of_each_owner();
  const auto must_let_pass = [&](const Guest& guest) {
    if (tenured(books, guest, now)) return false;
    return std::any_of(of_owners.begin(), of_owners.end(), [&](const Guest* other) {
      return other->waiter.owner != guest.waiter.owner && tenured(books, *other, now) &&
             shares.held(other->waiter.owner) <= shares.held(guest.waiter.owner);
    });
  };
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
    if (must_let_pass(*guest)) continue;
    if (book.admission(guest->waiter.space) != SessionBook::Admission::kNotNow) return guest->id;
  }
  return std::nullopt;
}

Taking WaitingLine::taking(const Books& books, const Chip& chip, std::uint64_t now) const {
  Taking out;
  for (const Guest& guest : guests_) out.at = std::min(out.at.value_or(guest.deadline), guest.deadline);
  for (const Guest* guest : one_of_each_owner()) {
    const std::uint64_t tenure = books.spaces.at(guest->waiter.space).limits.terms.tenure;
    const std::uint64_t clock = clocks_.at(guest->waiter.owner);
    // From then on it has to let nobody pass.
    if (tenure < UINT64_MAX - clock && clock + tenure > now) out.at = std::min(*out.at, clock + tenure);
    if (!guest->may_take) continue;
    const Taking one = session_to_take(books, chip, waiters(*guest), now);
    if (one.number) return one;
    if (one.at) out.at = std::min(*out.at, *one.at);
  }
  return out;
}

}  // namespace tpmspace::space
