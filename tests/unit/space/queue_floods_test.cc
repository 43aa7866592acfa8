// The queues when thousands wait: the cost of an event does not depend on the number of waiters, and the choice is that
// of a search over all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <stdexcept>
#include <tuple>

#include "space/number_queue.h"
#include "space/recovery.h"
#include "space/session_queue.h"
#include "support.h"

namespace tpmspace::space {
namespace {

class Queues : public testing::Test {
 protected:
  SpaceId space(std::uint64_t owner, std::uint32_t held, const SessionTerms& terms = {}) {
    const SpaceId id = open_space(books_, OwnerId{owner}, {.terms = terms});
    for (std::uint32_t i = 0; i < held; ++i) {
      std::uint32_t number = 0;
      while (books_.sessions.count(number) != 0) ++number;
      Session session;
      session.handle = 0x02000000 + number;
      session.owner = OwnerId{owner};
      session.space = id;
      session.last_use = ++books_.tick;
      session.used_at = now_;
      books_.sessions.emplace(number, std::move(session));
    }
    return id;
  }
  SessionQueue::Id wait(SpaceId space) {
    const auto& [owner, terms] = std::pair(books_.spaces.at(space).owner, books_.spaces.at(space).limits.terms);
    queue_.add({.id = ++last_,
                .waiter = {space, owner, now_},
                .deadline = now_ + terms.deadline,
                .may_take = terms.exhaustion == Exhaustion::kReclaim,
                .claim = terms.claim,
                .tenure = terms.tenure});
    return last_;
  }
  auto next() { return queue_.next(books_, chip_, book_, now_); }

  std::uint64_t now_ = 0;
  Chip chip_;
  Quota quota_;
  Books books_;
  NoTpm tpm_;
  TpmPort port_{tpm_, wire::CommandTable::builtin(), [] { return std::uint64_t{0}; }};
  Recovery recovery_{books_, chip_, port_};
  Residency residency_{books_, chip_, port_, recovery_};
  Parking parking_{books_, chip_, quota_, port_, recovery_, residency_};
  SessionBook book_{books_, chip_, quota_, port_, residency_, parking_};
  SessionQueue queue_;
  NumberQueue numbers_;
  SessionQueue::Id last_ = 0;
};

TEST_F(Queues, ComingAndGoingCostsTheSameHoweverManyConnectionsOfAnOwnerWait) {
  (void)space(1, 61);
  std::vector<SessionQueue::Id> waiting;
  // Comes and goes a hundred times; returns the number of entries looked at.
  const auto churn = [&] {
    const auto before = queue_.looked_at() + queue_.queue().filed();
    for (int i = 0; i < 100; ++i) {
      queue_.remove(waiting.at(waiting.size() / 2));
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(waiting.size() / 2));
      waiting.push_back(wait(space(1, 0)));
      EXPECT_EQ(next(), std::nullopt);
      EXPECT_EQ(queue_.taking(books_, chip_, now_).number, std::nullopt);
    }
    return queue_.looked_at() + queue_.queue().filed() - before;
  };
  while (waiting.size() < 10) waiting.push_back(wait(space(1, 0)));
  const auto with_few = churn();
  while (waiting.size() < 3000) waiting.push_back(wait(space(1, 0)));
  EXPECT_EQ(churn(), with_few);
}

TEST_F(Queues, ComingAndGoingCostsTheSameHoweverManyOwnersWait) {
  (void)space(1, 61);
  const auto churn = [&] {
    const auto before = queue_.looked_at() + queue_.queue().filed();
    for (int i = 0; i < 100; ++i) {
      const auto id = wait(space(2, 0));
      EXPECT_EQ(next(), std::nullopt);
      EXPECT_EQ(queue_.taking(books_, chip_, now_).number, std::nullopt);
      queue_.remove(id);
    }
    return queue_.looked_at() + queue_.queue().filed() - before;
  };
  for (std::uint64_t owner = 10; owner < 20; ++owner) (void)wait(space(owner, 0));
  const auto with_few = churn();
  for (std::uint64_t owner = 20; owner < 2000; ++owner) (void)wait(space(owner, 0));
  EXPECT_EQ(churn(), with_few);
}

TEST_F(Queues, AnOwnerThatExpiresWithThousandsOfAnotherIsToldInTurn) {
  (void)space(1, 61);
  for (int i = 0; i < 4000; ++i) (void)wait(space(2, 0));
  const auto own = wait(space(3, 0));
  EXPECT_EQ(queue_.expired(30 * kSecond - 1), std::nullopt);
  now_ = 30 * kSecond;
  int before = 0;
  std::optional<SessionQueue::Id> late;
  while ((late = queue_.expired(now_)) && late != own && before < 10) {
    queue_.remove(*late);
    ++before;
  }
  EXPECT_EQ(late, own);
  EXPECT_LE(before, 1);
  const auto filed = queue_.queue().filed();
  int told = 0;
  for (; (late = queue_.expired(now_)); ++told) queue_.remove(*late);
  EXPECT_EQ(told, 4000);
  EXPECT_LE(queue_.queue().filed() - filed, 4001U);
}

TEST_F(Queues, TheChoiceForANumberCostsTheSameHoweverManyWaitForIt) {
  // Every number is in use by a policy session that can be made again, used just now, of an owner with no other.
  const SpaceId holder = space(1, 64);
  for (auto& [number, session] : books_.sessions) {
    session.owner = OwnerId{10'000 + std::uint64_t{number}};
    session.kind = SessionKind::kPolicy;
    session.log.rebuildable = Rebuildable::kYes;
  }
  std::uint64_t id = 0;
  const auto wait_for_number = [&](std::uint64_t owner) {
    numbers_.add({.id = ++id, .space = holder, .owner = OwnerId{owner}, .since = 0, .deadline = kSecond, .number = {}});
  };
  const auto looked_at = [&] {
    const auto before = numbers_.looked_at() + numbers_.queue().filed();
    EXPECT_EQ(numbers_.next(book_, 0), std::nullopt);
    EXPECT_NE(numbers_.look_again(book_), UINT64_MAX);
    wait_for_number(2);
    EXPECT_TRUE(numbers_.remove(id));
    return numbers_.looked_at() + numbers_.queue().filed() - before;
  };
  for (int i = 0; i < 10; ++i) wait_for_number(2);
  const auto with_few = looked_at();
  for (std::uint64_t i = 0; i < 3000; ++i) wait_for_number(2 + i % 100);
  EXPECT_EQ(looked_at(), with_few);
}

TEST_F(Queues, OwnersTakeTurnsForANumber) {
  const SpaceId any{1};
  const auto add = [&](std::uint64_t id, std::uint64_t owner) {
    numbers_.add({.id = id, .space = any, .owner = OwnerId{owner}, .since = 0, .deadline = kSecond, .number = {}});
  };
  for (std::uint64_t id = 1; id <= 100; ++id) add(id, 1);
  add(101, 2);
  EXPECT_EQ(numbers_.next(book_, 0), 1U) << "numbers are free";
  numbers_.served(1, 0);
  EXPECT_EQ(numbers_.next(book_, 0), 101U);
  numbers_.served(101, 0);
  EXPECT_EQ(numbers_.next(book_, 0), 2U);
}

// --- the choice, against a search over all that wait

class Reference {
 public:
  struct Guest {
    SessionQueue::Id id = 0;
    SpaceId space;
    OwnerId owner;
    std::uint64_t since = 0, deadline = 0;
    SessionTerms terms;
  };

  void add(const Guest& guest) {
    guests.push_back(guest);
    clocks_.try_emplace(guest.owner, guest.since);
  }
  void remove(SessionQueue::Id id) {
    const OwnerId owner = of(id).owner;
    std::erase_if(guests, [&](const Guest& guest) { return guest.id == id; });
    forget(owner);
  }
  void served(SessionQueue::Id id, std::uint64_t now) {
    const OwnerId owner = of(id).owner;
    last_turn_[owner] = ++turns_;
    clocks_[owner] = now;
    remove(id);
  }
  std::optional<SessionQueue::Id> next(const Books& books, const Chip& chip, const SessionBook& book,
                                       std::uint64_t now) const {
    if (guests.empty()) return std::nullopt;
    std::map<OwnerId, std::uint32_t> held_by_owner;
    std::map<SpaceId, std::uint32_t> held_by_space;
    for (const auto& [number, session] : books.sessions) ++held_by_owner[session.owner], ++held_by_space[session.space];
    for (const Guest& guest : guests) held_by_owner.try_emplace(guest.owner, 0), held_by_space.try_emplace(guest.space);
    const std::uint64_t to_share = chip.active_sessions - chip.kept_for_rebuilding() - (guests.front().terms.claim - 1);
    const auto above = [&](OwnerId owner) { return held_by_owner.at(owner) * held_by_owner.size() > to_share; };
    const auto tenured = [&](OwnerId owner) {
      const auto first =
          std::find_if(guests.begin(), guests.end(), [&](const Guest& guest) { return guest.owner == owner; });
      return now - clocks_.at(owner) >= first->terms.tenure;
    };
    std::uint32_t least = UINT32_MAX;
    for (const Guest& guest : guests)
      if (tenured(guest.owner)) least = std::min(least, held_by_owner.at(guest.owner));
    std::optional<std::tuple<bool, int, std::uint64_t, std::size_t>> best;
    for (std::size_t i = 0; i < guests.size(); ++i) {
      const Guest& guest = guests[i];
      const std::uint32_t held = held_by_space.at(guest.space);
      if (!tenured(guest.owner) && least <= held_by_owner.at(guest.owner)) continue;
      if (!book.bank().admits(held, guest.terms.claim)) continue;
      const bool aged = now >= guest.since + (guest.deadline - guest.since) / 2;
      const int kind = held == 0 ? (aged ? 0 : 1) : held < guest.terms.claim ? 0 : 2;
      const auto turn = last_turn_.find(guest.owner);
      const std::tuple rank{above(guest.owner), kind, turn == last_turn_.end() ? 0 : turn->second, i};
      if (!best || rank < *best) best = rank;
    }
    return best ? std::optional(guests[std::get<3>(*best)].id) : std::nullopt;
  }

  std::vector<Guest> guests;  // by arrival

 private:
  [[nodiscard]] const Guest& of(SessionQueue::Id id) const {
    return *std::find_if(guests.begin(), guests.end(), [&](const Guest& guest) { return guest.id == id; });
  }
  void forget(OwnerId owner) {
    if (std::none_of(guests.begin(), guests.end(), [&](const Guest& guest) { return guest.owner == owner; }))
      clocks_.erase(owner);
    if (guests.empty()) last_turn_.clear();
  }
  std::map<OwnerId, std::uint64_t> clocks_, last_turn_;
  std::uint64_t turns_ = 0;
};

TEST_F(Queues, TheChoiceIsThatOfASearchOverAllThatWait) {
  std::mt19937_64 random(12);  // NOLINT: every run draws the same
  const auto draw = [&](std::uint64_t below) { return random() % below; };
  int found = 0, held_up = 0;
  for (int round = 0; round < 60; ++round) {
    chip_.active_sessions = 6 + static_cast<std::uint32_t>(draw(20));
    queue_ = {};
    books_ = {};
    Reference reference;
    std::vector<SpaceId> idle;
    for (int i = 0; i < 25; ++i) {
      const SessionTerms terms{.claim = 1 + static_cast<std::uint32_t>(draw(4)),
                               .tenure = (draw(3) == 0 ? 5 : 10) * kSecond,
                               .deadline = (draw(3) == 0 ? 10 : 30) * kSecond};
      const auto held = static_cast<std::uint32_t>(draw(4) == 0 ? draw(4) : 0);
      const bool fits = books_.sessions.size() + held + 3 <= chip_.active_sessions;
      idle.push_back(space(1 + draw(8), fits ? held : 0, terms));
    }
    for (int i = 0; i < 150; ++i) {
      now_ += draw(2) * draw(3 * kSecond);
      if (!idle.empty() && draw(2) == 0) {
        const auto at = idle.begin() + static_cast<std::ptrdiff_t>(draw(idle.size()));
        const auto& [owner, terms] = std::pair(books_.spaces.at(*at).owner, books_.spaces.at(*at).limits.terms);
        const auto id = wait(*at);
        reference.add({id, *at, owner, now_, now_ + terms.deadline, terms});
        idle.erase(at);
      } else if (!reference.guests.empty() && draw(4) == 0) {
        const auto& guest = reference.guests.at(draw(reference.guests.size()));
        idle.push_back(guest.space);
        EXPECT_TRUE(queue_.remove(guest.id));
        reference.remove(guest.id);
      } else if (!books_.sessions.empty() && draw(3) == 0) {
        books_.sessions.erase(books_.sessions.begin());
      }
      const auto expected = reference.next(books_, chip_, book_, now_);
      ASSERT_EQ(next(), expected) << "round " << round << ", event " << i;
      if (!expected) {
        held_up += reference.guests.empty() ? 0 : 1;
        continue;
      }
      ++found;
      const auto guest = *std::find_if(reference.guests.begin(), reference.guests.end(),
                                       [&](const auto& one) { return one.id == *expected; });
      queue_.served(*expected, now_);
      reference.served(*expected, now_);
      std::uint32_t number = 0;
      while (books_.sessions.count(number) != 0) ++number;
      Session session;
      session.handle = 0x02000000 + number;
      session.owner = guest.owner;
      session.space = guest.space;
      books_.sessions.emplace(number, std::move(session));
      idle.push_back(guest.space);
    }
  }
  EXPECT_GT(found, 500);
  EXPECT_GT(held_up, 500);
}

}  // namespace
}  // namespace tpmspace::space
