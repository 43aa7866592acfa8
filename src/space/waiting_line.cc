#include "space/waiting_line.h"

#include <algorithm>
#include <set>
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
  if (last_turn_.size() >= kMostTurns) last_turn_.clear();  // everybody begins again
  last_turn_[owner] = ++turns_;
  clocks_[owner] = now;
  forget_clock_of(owner);
}

bool WaitingLine::tenured(const Books& books, const Guest& guest, std::uint64_t now) const {
  const std::uint64_t waited = now - clocks_.at(guest.waiter.owner);
  return waited >= books.spaces.at(guest.waiter.space).limits.terms.tenure;
}

std::uint64_t WaitingLine::since(Id id) const {
  return std::find_if(guests_.begin(), guests_.end(), [&](const Guest& guest) { return guest.id == id; })->waiter.since;
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
  std::set<OwnerId> known;
  for (const Guest& guest : guests_)
    if (known.insert(guest.waiter.owner).second) out.push_back(&guest);
  return out;
}

// Thousands may wait, of one owner too: what is the same for many is found out once.
std::optional<WaitingLine::Id> WaitingLine::next(const Books& books, const Chip& chip, const SessionBook& book,
                                                 std::uint64_t now) const {
  if (guests_.empty()) return std::nullopt;
  const auto claim_of = [&](const Guest& guest) { return books.spaces.at(guest.waiter.space).limits.terms.claim; };
  const FairShares shares(books, chip, waiters(guests_.front()), claim_of(guests_.front()));
  const auto held_by = ordinary_sessions_by_space(books);
  const auto held = [&](const Guest& guest) {
    const auto found = held_by.find(guest.waiter.space);
    return found == held_by.end() ? 0U : found->second;
  };

  // Nobody whose owner has not waited for the tenure passes one who has, and holds no more.
  std::optional<std::uint32_t> least_of_tenured;
  for (const Guest* guest : one_of_each_owner())
    if (tenured(books, *guest, now))
      least_of_tenured = std::min(least_of_tenured.value_or(UINT32_MAX), shares.held(guest->waiter.owner));
  const auto must_let_pass = [&](const Guest& guest) {
    return least_of_tenured && !tenured(books, guest, now) && *least_of_tenured <= shares.held(guest.waiter.owner);
  };

  const Bank bank = book.bank();
  std::map<std::pair<std::uint32_t, std::uint32_t>, bool> admitted;  // by what is held, and the claim
  const auto may_go = [&](const Guest& guest) {
    const Space& space = books.spaces.at(guest.waiter.space);
    if (space.given_up) return true;  // to be refused
    const auto [entry, is_new] = admitted.try_emplace({held(guest), claim_of(guest)}, false);
    if (is_new) entry->second = bank.admits(held(guest), claim_of(guest));
    return entry->second;
  };

  using Rank = std::tuple<bool, int, std::uint64_t, std::uint64_t>;
  const auto rank = [&](const Guest& guest) -> Rank {
    const bool aged = now >= guest.waiter.since + (guest.deadline - guest.waiter.since) / 2;
    const bool finishing = held(guest) > 0 && held(guest) < claim_of(guest);
    const int kind = finishing || (aged && held(guest) == 0) ? 0 : held(guest) == 0 ? 1 : 2;
    const auto turn = last_turn_.find(guest.waiter.owner);
    return {shares.is_above(guest.waiter.owner), kind, turn == last_turn_.end() ? 0 : turn->second, guest.waiter.since};
  };
  const Guest* first = nullptr;
  for (const Guest& guest : guests_)
    if (!must_let_pass(guest) && may_go(guest) && (first == nullptr || rank(guest) < rank(*first))) first = &guest;
  return first == nullptr ? std::nullopt : std::optional(first->id);
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
