#include "space/session_queue.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace tpmspace::space {

namespace {

// Kinds are claims.
WaitQueue::Kind kind_of(std::uint32_t claim, std::uint64_t since, std::uint64_t deadline) {
  return {claim, deadline == WaitQueue::kNever ? WaitQueue::kNever : deadline - since};
}
std::uint32_t claim_of(const WaitQueue::Kind& kind) {
  return static_cast<std::uint32_t>(kind.what);
}

}  // namespace

void SessionQueue::add(const Guest& guest) {
  queue_.add({.id = guest.id,
              .space = guest.waiter.space,
              .owner = guest.waiter.owner,
              .since = guest.waiter.since,
              .deadline = guest.deadline,
              .kind = kind_of(guest.claim, guest.waiter.since, guest.deadline),
              .tenure = guest.tenure,
              .may_take = guest.may_take});
}

void SessionQueue::set_terms(Id id, const SessionTerms& terms) {
  if (const auto* guest = queue_.find(id))
    queue_.change(id, kind_of(terms.claim, guest->since, guest->deadline), terms.tenure,
                  terms.exhaustion == Exhaustion::kReclaim);
}

std::optional<SessionQueue::Id> SessionQueue::expired(std::uint64_t now) {
  queue_.advance(now);
  return queue_.late();
}

std::size_t SessionQueue::owners_without(const OrdinarySessions& there) const {
  std::size_t out = queue_.owners();
  for (const auto& [owner, held] : there.by_owner) out -= queue_.owner(owner) == nullptr ? 0U : 1U;
  return out;
}

std::uint32_t SessionQueue::claim_of_first() const {
  if (!TPMSPACE_HOLDS(!queue_.empty())) return SessionTerms{}.claim;
  return claim_of(queue_.guests().begin()->second.kind);
}

std::optional<OwnerId> SessionQueue::keeps_too_many(const Books& books, const Chip& chip) const {
  if (queue_.empty() || books.kept_places.size() == 0) return std::nullopt;
  const OrdinarySessions there(books);
  const FairShares shares(there, chip, claim_of_first(), owners_without(there));
  for (const auto& place : books.kept_places.places())
    if (shares.is_above(place.owner)) return place.owner;
  return std::nullopt;
}

// --- whose turn it is

class SessionQueue::Choice {
 public:
  Choice(SessionQueue& queue, const Books& books, const Chip& chip, const SessionBook& book, std::uint64_t now)
      : queue_(queue),
        now_(now),
        kept_(books.kept_places),
        there_(books),
        shares_(there_, chip, queue.claim_of_first(), queue.owners_without(there_)),
        bank_(book.bank()),
        least_of_tenured_(find_least_of_tenured()) {}

  std::optional<Id> find() {
    for (const auto& [space, account] : there_.by_space)
      for (const WaitQueue::Arrival arrival : queue().of(space)) look_at_holder(arrival, account.held);
    for (const auto& [id, held] : there_.by_owner)
      if (const auto* owner = queue().owner(id)) look_at_newcomers(id, *owner);
    look_at_owners_without();
    return best_;
  }

 private:
  enum class Kind : std::uint8_t { kFinishing, kNewcomer, kBeyondClaim };
  using Rank = std::tuple<bool, Kind, std::uint64_t, WaitQueue::Arrival>;  // above its share, .., turn, ..

  [[nodiscard]] const WaitQueue& queue() const { return queue_.queue_; }

  void look_at(const Rank& rank, std::uint32_t held, const WaitQueue::Guest& guest) {
    ++queue_.looked_at_;
    if ((best_ && best_rank_ < rank) || !may_go(kept_.of(guest.owner), held, claim_of(guest.kind))) return;
    best_ = guest.id;
    best_rank_ = rank;
  }

  // A guest whose space holds sessions.
  void look_at_holder(WaitQueue::Arrival arrival, std::uint32_t held) {
    const WaitQueue::Guest& guest = queue().at(arrival);
    const WaitQueue::Owner* found = queue().owner(guest.owner);
    if (!TPMSPACE_HOLDS(found != nullptr)) return;
    const WaitQueue::Owner& owner = *found;
    if (must_let_pass(guest.owner, owner.tenured)) return;
    const Kind kind = held < claim_of(guest.kind) ? Kind::kFinishing : Kind::kBeyondClaim;
    look_at({shares_.is_above(guest.owner), kind, owner.turn, arrival}, held, guest);
  }

  // For an owner that holds sessions: of each kind, the first guest whose space holds none.
  void look_at_newcomers(OwnerId id, const WaitQueue::Owner& owner) {
    if (must_let_pass(id, owner.tenured)) return;
    for (const auto& [kind, arrivals] : owner.by_kind) {
      const auto first = std::find_if(arrivals.begin(), arrivals.end(), [this](WaitQueue::Arrival arrival) {
        ++queue_.looked_at_;
        return there_.of(queue().at(arrival).space) == 0;
      });
      if (first == arrivals.end()) continue;
      const WaitQueue::Guest& guest = queue().at(*first);
      const bool aged = WaitQueue::ages_at(guest) <= now_;
      look_at({shares_.is_above(id), newcomer(aged), owner.turn, *first}, 0, guest);
    }
  }

  // These are newcomers, and none is above its share.
  void look_at_owners_without() {
    for (const auto& [shelf, heads] : queue().shelves()) {
      if (must_let_pass(shelf.tenured, 0U)) continue;
      const auto first = std::find_if(heads.begin(), heads.end(), [this](const WaitQueue::Head& head) {
        ++queue_.looked_at_;
        return there_.of(head.owner) == 0;
      });
      if (first == heads.end()) continue;
      look_at({false, newcomer(shelf.aged), first->turn, first->arrival}, 0, queue().at(first->arrival));
    }
  }

  static Kind newcomer(bool aged) { return aged ? Kind::kFinishing : Kind::kNewcomer; }

  // An owner that has not waited for its tenure does not overtake a tenured owner that holds as few or fewer sessions.
  // An owner with a kept place takes no session from another.
  [[nodiscard]] bool must_let_pass(OwnerId owner, bool tenured) const {
    return kept_.of(owner) == 0 && must_let_pass(tenured, there_.of(owner));
  }
  [[nodiscard]] bool must_let_pass(bool tenured, std::uint32_t held) const {
    return !tenured && least_of_tenured_ && *least_of_tenured_ <= held;
  }
  [[nodiscard]] std::optional<std::uint32_t> find_least_of_tenured() const {
    std::optional<std::uint32_t> out;
    // An owner without sessions ends the loop, so the loop passes at most all owners with sessions.
    for (const OwnerId owner : queue().tenured()) {
      ++queue_.looked_at_;
      const std::uint32_t held = there_.of(owner);
      out = std::min(out.value_or(UINT32_MAX), held);
      if (held == 0) break;
    }
    return out;
  }

  bool may_go(std::uint32_t kept, std::uint32_t held, std::uint32_t claim) {
    const auto [entry, is_new] = admitted_.try_emplace({kept, held, claim}, false);
    if (!is_new) return entry->second;
    Bank bank = bank_;
    bank.find(kept);
    return entry->second = bank.admits(held, claim);
  }

  SessionQueue& queue_;
  const std::uint64_t now_;
  const KeptPlaces& kept_;
  const OrdinarySessions there_;
  const FairShares shares_;
  const Bank bank_;
  const std::optional<std::uint32_t> least_of_tenured_;
  using Case = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;  // places kept, sessions held, claim
  std::map<Case, bool> admitted_;
  std::optional<Id> best_;
  Rank best_rank_;
};

std::optional<SessionQueue::Id> SessionQueue::next(const Books& books, const Chip& chip, const SessionBook& book,
                                                   std::uint64_t now) {
  if (queue_.empty()) return std::nullopt;
  queue_.advance(now);
  return Choice(*this, books, chip, book, now).find();
}

// --- for whom one is taken

// Among owners without sessions, the owner with the earliest clock has every right of the others.
Taking SessionQueue::taking(const Books& books, const Chip& chip, std::uint64_t now) {
  queue_.advance(now);
  Taking out;
  const std::uint64_t change = std::min(queue_.next_change(), books.kept_places.next_end());
  if (change != WaitQueue::kNever) out.at = change;

  const OrdinarySessions there(books);
  std::vector<std::pair<std::uint64_t, OwnerId>> owners;  // by clock
  for (const auto& [id, held] : there.by_owner)
    if (const auto* owner = queue_.owner(id); owner != nullptr && queue_.first_of(*owner).may_take)
      owners.emplace_back(owner->clock, id);
  for (const auto& [kind, by_clock] : queue_.by_clock()) {
    const auto first = std::find_if(by_clock.begin(), by_clock.end(), [&](const auto& entry) {
      ++looked_at_;
      return there.of(entry.second) == 0;
    });
    if (first != by_clock.end()) owners.push_back(*first);
  }
  std::sort(owners.begin(), owners.end());

  const std::size_t others = owners_without(there);
  std::map<std::uint32_t, FairShares> shares;  // by claim
  for (const auto& [clock, owner] : owners) {
    const WaitQueue::Guest& guest = queue_.first_of(*queue_.owner(owner));
    const std::uint32_t claim = claim_of(guest.kind);
    const FairShares& share = shares.try_emplace(claim, there, chip, claim, others).first->second;
    const Taking one = session_to_take(books, share, {.space = guest.space, .owner = owner, .since = clock}, now);
    if (one.number) return one;
    if (one.at) out.at = std::min(out.at.value_or(*one.at), *one.at);
  }
  return out;
}

}  // namespace tpmspace::space
